/* SPDX-License-Identifier: MIT */
/*
 * Stalls of the network: a line stands still for a second, or TCP sends again what was lost, and
 * answers come late, but they come. Round trips alone do not tell these from death, as most are
 * short. So a node remembers the longest wait for an answer that came after all, of whatever peer:
 * a line of its own is behind most of them. A peer that was given up and answers again teaches the
 * same. (Detectors that adapt to what they see: Chen, Toueg, Aguilera 2002; Hayashibara et al.
 * 2004. They take means and variances; here a rare longest wait is what counts, so it is the
 * greatest of two windows, as TCP BBR keeps its least round trip.)
 *
 * Without stalls nothing is remembered that would delay a verdict.
 */
#include "ring.h"

enum {
    WINDOW_MS = 600000, /* a stall is remembered for one to two of these */
    STALL_MS_MAX = 1500,
    OUTAGE_MS = 10000, /* one that took longer is none: that host was off, or cut off */
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
    if (ms <= OUTAGE_MS && ms > chord->stalls.now_ms) {
        chord->stalls.now_ms = ms < STALL_MS_MAX ? (uint32_t)ms : STALL_MS_MAX;
    }
}

void stalls_over(struct chord *chord, const struct chord_peer *peer) {
    for (uint16_t i = 0; i < graves_max(&chord->config.limits); i++) {
        struct grave *grave = grave_at(chord, i);
        if (grave->silent_since_ms != 0 && peer_same(&grave->peer, peer)) {
            stalls_seen(chord, chord->now_ms - grave->silent_since_ms);
            grave->silent_since_ms = 0;
        }
    }
}

uint32_t stalls_ms(struct chord *chord) {
    windows_move(chord);
    const struct stalls *stalls = &chord->stalls;
    return stalls->now_ms > stalls->before_ms ? stalls->now_ms : stalls->before_ms;
}
