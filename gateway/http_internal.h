/* What http.c and http_reply.c share. */
#ifndef GATEWAY_HTTP_INTERNAL_H
#define GATEWAY_HTTP_INTERNAL_H

const char *http_status_text(int status);

#endif
