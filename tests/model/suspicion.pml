/* SPDX-License-Identifier: MIT */
/*
 * The ring without A3: the members fall apart into two sides, each takes the other for dead and
 * closes its own ring; later all reach each other again. Two rings do appear (-DNEVER_TWO is then
 * violated), and the merge makes one ideal ring of them again: graveyard ping, self-lookup and the
 * MERGE hint (unify.c). Nobody joins or fails here; all members form one ideal ring at first.
 */
#ifndef SLOTS
#define SLOTS 4
#endif
byte side[SLOTS];  /* who is where during the partition; all 0 = everybody reaches everybody */
byte grave[SLOTS]; /* removed peers, a bit per slot: addresses, whatever life */
bool parted = false, healed = false;

#define REACH(i, j) (side[i] == side[j])
#define BURY(i, d) grave[i] = grave[i] | (1 << slot(d))
#define MERGE_TELL(t, p) merge_hear(t, p)
#define LIVE

#include "node.pml"

byte hint, near; /* scratch */

/* on_merge: a member that t may not know. What is not next to t goes on along t's list. */
inline merge_hear(target, told) {
#ifndef NO_MERGE_HINT
    hint = target; near = told;
    do
    :: slot(near) == hint -> break
    :: slot(near) != hint ->
        if
        :: s0[hint] == NONE || between(hint, slot(near), slot(s0[hint])) ->
            if
            :: q[hint] == IDLE -> q[hint] = CANDIDATE; qp[hint] = near
            :: else
            fi;
            break
        :: else ->
            if
            :: slot(s0[hint]) == slot(near) || (s1[hint] != NONE && slot(s1[hint]) == slot(near)) ->
                break
            :: else ->
                if
                :: s1[hint] != NONE && between(hint, slot(s1[hint]), slot(near)) ->
                    a = slot(s1[hint])
                :: else -> a = slot(s0[hint])
                fi;
                if
                :: REACH(hint, a) -> hint = a; a = 0
                :: else -> a = 0; break
                fi
            fi
        fi
    od;
    hint = 0; near = 0
#else
    skip
#endif
}

/* ---- lookups: find_successor(id of i) begun at another member, along lists (lookup.c) ---- */

#define owns(t, i) (pred[t] != NONE && (t == i || between(slot(pred[t]), i, t)))

#define leads(t, i) (s0[t] != NONE && (slot(s0[t]) == i || between(t, i, slot(s0[t]))))

/* Leaves the owner in b and the one before it in c; b = NONE: not found. */
inline find(i, via) {
    a = via; b = NONE; c = NONE; k = 0;
    do
    :: k > SLOTS || !REACH(i, a) -> break
    :: k <= SLOTS && REACH(i, a) ->
        k++;
        if
        :: owns(a, i) -> b = a; c = slot(pred[a]); break
        :: !owns(a, i) && s0[a] == NONE -> b = a; c = a; break
        :: !owns(a, i) && leads(a, i) -> b = slot(s0[a]); c = a; break
        :: else ->
            if
            :: s1[a] != NONE && between(a, slot(s1[a]), i) -> a = slot(s1[a])
            :: else -> a = slot(s0[a])
            fi
        fi
    od;
    a = 0; k = 0
}

inline forget_scratch() { a = 0; b = 0; c = 0; k = 0 }

/* The ring that `via` sees has no i: its owner of i's id may be our successor, and the one before
 * that one is told of us (merge_looked_up). */
inline self_lookup(i, via) {
    printf("%d merge asked=%d\n", i, via);
    find(i, via);
    if
    :: b == NONE || b == i -> skip
    :: else ->
        x = b; y = c;
        if
        :: (s0[i] == NONE || between(i, x, slot(s0[i]))) && q[i] == IDLE ->
            q[i] = CANDIDATE; qp[i] = x
        :: else
        fi;
        if
        :: between(y, i, x) && REACH(i, y) -> merge_hear(y, i)
        :: else
        fi;
        x = 0; y = 0
    fi;
    forget_scratch()
}

/* Removed peers are pinged; who answers is looked through, or followed if we are alone. */
#define CAN_PING_REMOVED(i, j) ((i) != (j) && ((grave[i] >> (j)) & 1) == 1 && REACH(i, j) && q[i] == IDLE)
inline ping_removed(i, j) {
    printf("%d merge asked=%d (removed)\n", i, j);
    grave[i] = grave[i] & (255 - (1 << j));
    if
    :: s0[i] == NONE -> q[i] = CANDIDATE; qp[i] = j
#ifdef MUTANT_NO_SELF_LOOKUP
    :: else
#else
    :: else -> self_lookup(i, j)
#endif
    fi
}

/* With an empty list the predecessor leads back into the ring (stabilize.c, way_back). */
#define CAN_GO_BACK(i) (q[i] == IDLE && s0[i] == NONE && pred[i] != NONE && answers(i, pred[i]))

#define stays(i, p) ((p) == NONE || side[i] == side[slot(p)])
bool two = false; /* both sides have closed their rings */

inline check() {
    d_step {
        for (m : 0 .. SLOTS - 1) { assert(list_ordered(m)) };
        judge_ideal()
#ifdef NEVER_TWO
        two = parted && !healed;
        for (m : 0 .. SLOTS - 1) {
            two = two && stays(m, s0[m]) && stays(m, s1[m])
        };
        m = 0;
        assert(!two)
#endif
    }
}

#ifdef MUTANT_NO_GRAVEYARD
#define PING_REMOVED(j)
#else
#define PING_REMOVED(j) :: atomic { CAN_PING_REMOVED(i, j) -> ping_removed(i, j); check() }
#endif

proctype node(byte i) {
end:
    do
    :: atomic { CAN_STABILIZE(i) -> stabilize(i); check() }
    :: atomic { CAN_CONFIRM(i) -> confirm(i); check() }
    :: atomic { CAN_GIVE_UP(i) -> give_up(i); check() }
    :: atomic { note[i] != NONE -> notify_arrive(i); check() }
    :: atomic { CAN_RECTIFY(i) -> rectify(i); check() }
    :: atomic { CAN_FAIL_SUCCESSOR(i) -> fail_peer(i, s0[i]); check() }
    :: atomic { CAN_FAIL_PREDECESSOR(i) -> fail_peer(i, pred[i]); check() }
    :: atomic { CAN_GO_BACK(i) -> q[i] = CANDIDATE; qp[i] = pred[i]; check() }
    PING_REMOVED(0)
    PING_REMOVED(1)
    PING_REMOVED(2)
#if SLOTS > 3
    PING_REMOVED(3)
#endif
    od
}

/* Who is on the other side, up to rotation. */
inline fall_apart() {
    if
    :: side[0] = 1
#if SLOTS > 3
    :: side[0] = 1; side[1] = 1
    :: side[0] = 1; side[2] = 1
#endif
    fi;
    parted = true
}

inline heal() {
    for (m : 0 .. SLOTS - 1) { side[m] = 0 };
    m = 0; healed = true
}

/* The partition, at any moment, and its end, at any moment. */
proctype network() {
    atomic { fall_apart(); check() };
    atomic { heal(); check() }
}

inline ideal_ring() {
    for (m : 0 .. SLOTS - 1) {
        if
        :: is_member(m) -> ideal_of(m); s0[m] = b; s1[m] = c; pred[m] = a
        :: else
        fi
    }
}

/* Each side as a closed ring of its own, all others in its members' graveyards. */
inline closed_rings() {
    fall_apart();
    for (m : 0 .. SLOTS - 1) { st[m] = (side[m] == 0 -> MEMBER : OUT) };
    ideal_ring();
    for (m : 0 .. SLOTS - 1) { st[m] = (side[m] == 1 -> MEMBER : OUT) };
    ideal_ring();
    for (m : 0 .. SLOTS - 1) {
        st[m] = MEMBER;
        for (k : 0 .. SLOTS - 1) {
            if :: side[k] != side[m] -> grave[m] = grave[m] | (1 << k) :: else fi
        }
    };
    heal()
}

init {
    atomic {
        for (m : 0 .. SLOTS - 1) { clear(m); st[m] = MEMBER };
#ifdef CLOSED
        closed_rings();
#else
        ideal_ring();
#endif
        check();
        run node(0); run node(1); run node(2);
#if SLOTS > 3
        run node(3);
#endif
#ifndef CLOSED
        run network();
#endif
#ifdef REST
        run rest_is_ideal()
#endif
    }
}

#ifndef REST
ltl becomes_ideal { <>[] ideal }
#endif
