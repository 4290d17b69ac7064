/* SPDX-License-Identifier: MIT */
/*
 * Which machine this node runs on, so that the copies of a key can be put on different ones:
 * HOST_ID, which may also name a room or a zone, or else what the machine knows of itself.
 */
#ifndef NODE_HOST_ID_H
#define NODE_HOST_ID_H

#include <stdbool.h>
#include <stdint.h>

enum { HOST_NAME_BYTES = 64 }; /* with the ending zero */

struct host_id {
    uint64_t id;                /* 0: not known */
    char name[HOST_NAME_BYTES]; /* for people; one line */
};

/* `text` NULL or empty: by /etc/machine-id, or where there is none (a container) by the running
 * kernel; the name is the machine's then. False: not 1 to 63 bytes of one line. After hash_open. */
bool host_id_read(const char *text, struct host_id *host);

#endif
