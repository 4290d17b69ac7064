/* The walk round the ring, from the session's nodes on. */
#ifndef CHORDCTL_WALK_H
#define CHORDCTL_WALK_H

#include "ctl.h"
#include "ring_walk.h"
#include "text.h"

/* CTL_OK, or said. Free with ring_walk_free. */
int walk_ring(struct ctl *ctl, struct ring_walk *walk);

#endif
