/* SPDX-License-Identifier: MIT */
/*
 * What the files of the administration offer each other; node.h has what the loop calls.
 */
#ifndef CHORD_ADMIN_H
#define CHORD_ADMIN_H

#include "node.h"

#include "chord/v1/admin.pb-c.h"

/* admin.c: each ends the request. */
void admin_answer(struct node *node, struct request *request, const ProtobufCMessage *message);
void admin_refuse(struct node *node, struct request *request, Chord__V1__Code code,
                  const char *reason);

/* admin_meta.c: the methods of MetaService. */
void meta_request(struct node *node, struct request *request);

/* One method each. */
void admin_on_status(struct node *node, struct request *request);
void admin_on_list_keys(struct node *node, struct request *request);
void admin_on_leave(struct node *node, struct request *request);
void admin_on_join(struct node *node, struct request *request);
void admin_on_kill(struct node *node, struct request *request);
void admin_on_recover(struct node *node, struct request *request);
void admin_on_backup(struct node *node, struct request *request);

#endif
