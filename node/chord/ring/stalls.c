/* SPDX-License-Identifier: MIT */
/*
 * Stalls of the network: a line stands still for a second, or TCP sends again what was lost, and
 * answers come late, but they come. Mean and variance of round trips do not tell these from death,
 * as nearly all are short. So a node remembers the longest wait for an answer that came after all,
 * of whatever peer, since its own line is behind many of them: the greatest of two windows of time,
 * as TCP BBR keeps its least round trip. (Detectors that adapt to what they see: Chen, Toueg,
 * Aguilera 2002; Hayashibara et al. 2004.) Without stalls nothing is remembered that would delay a
 * verdict.
 */
#include "ring.h"

enum {
    WINDOW_MS = 600000,  /* a stall is remembered for one to two of these */
    STALL_MS_MAX = 1200, /* what takes longer is an outage: nobody waits for its end */
};

static void windows_move(struct chord *chord) {
    struct stalls *stalls = &chord->stalls;
    if (stalls->until_ms <= chord->now_ms) {
        bool old = stalls->until_ms + WINDOW_MS <= chord->now_ms;
        stalls->before_ms = old ? 0 : stalls->now_ms;
        stalls->now_ms = 0;
        stalls->until_ms = chord->now_ms + WINDOW_MS;
    }
}

void stalls_seen(struct chord *chord, uint64_t ms) {
    windows_move(chord);
    if (ms > chord->stalls.now_ms) {
        chord->stalls.now_ms = ms < STALL_MS_MAX ? (uint32_t)ms : STALL_MS_MAX;
    }
}

uint32_t stalls_ms(struct chord *chord) {
    windows_move(chord);
    const struct stalls *stalls = &chord->stalls;
    return stalls->now_ms > stalls->before_ms ? stalls->now_ms : stalls->before_ms;
}
