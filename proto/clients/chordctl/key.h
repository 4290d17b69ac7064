/* SPDX-License-Identifier: MIT */
/* A key as the command line gives it. */
#ifndef CHORDCTL_KEY_H
#define CHORDCTL_KEY_H

#include "ctl.h"

struct key {
    struct buf bytes;
    bool base64; /* given so: values too */
};

/* words[0]; free key->bytes. */
void key_read(const struct arguments *arguments, struct key *key);

#endif
