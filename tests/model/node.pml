/* SPDX-License-Identifier: MIT */
/*
 * One member of the ring as the core has it (node/chord/: successors.c, stabilize.c, join.c,
 * admit.c, unify.c), list length 2. Each step is named by the core's trace word and reads one other
 * node; what an asked node changes by being asked (a candidate recorded, a former life forgotten)
 * is in the same step. ring.pml and suspicion.pml include this file and bring the environment.
 *
 * A peer is one life of a slot: slot + SLOTS * life. The slot is also the id.
 *
 * A step that would change nothing is not enabled. So a run that stands still is a ring at rest.
 */
#ifndef SLOTS
#define SLOTS 5
#endif
#define NONE (2 * SLOTS)

#define OUT 0     /* has not been a member in this life */
#define ASKED 1   /* a joiner that was admitted and has not yet heard it (SPLIT) */
#define MEMBER 2
#define DEAD 3

#define IDLE 0
#define CANDIDATE 1   /* get_successors to qp[i] is to be sent */
#define STABILIZED 2  /* SPLIT: qp[i] has answered get_predecessor; the answer is on its way */
#define CONFIRMED 3   /* SPLIT: qp[i] has answered get_successors; the answer is on its way */

byte st[SLOTS];
byte life[SLOTS];
byte s0[SLOTS], s1[SLOTS]; /* the successor list */
byte pred[SLOTS];
byte cand[SLOTS]; /* who notified us, for rectify */
byte q[SLOTS], qp[SLOTS]; /* the one maintenance query and its peer */
byte note[SLOTS]; /* a notify on its way: to whom */
byte lost[SLOTS]; /* ghost: entries removed since the list was last adopted */
#ifdef SPLIT
byte rk[SLOTS], rc[SLOTS]; /* the answer on its way: first successor, predecessor */
#endif

byte x, y, z, w; /* scratch of a step, no state */

/* ---- ids and peers ---- */

#define slot(p) ((p) % SLOTS)
#define self(i) ((i) + SLOTS * life[i])
#define dist(a, b) (((b) + SLOTS - (a)) % SLOTS)
/* b strictly clockwise inside (a, c); with equal ends everything but the end. The protocol's
 * `between` and `alive` may be mutants; what is checked uses `inside` and `lives`. */
#define inside(a, b, c) (dist(a, b) != 0 && (dist(a, c) == 0 || dist(a, b) < dist(a, c)))
#ifdef MUTANT_EQUAL_ENDS
#define between(a, b, c) (dist(a, b) != 0 && dist(a, b) < dist(a, c))
#else
#ifdef MUTANT_CLOSED_END
#define between(a, b, c) (dist(a, b) != 0 && (dist(a, c) == 0 || dist(a, b) <= dist(a, c)))
#else
#define between(a, b, c) inside(a, b, c)
#endif
#endif
#define is_member(i) (st[i] == MEMBER)
#define lives(p) ((p) != NONE && is_member(slot(p)) && life[slot(p)] == (p) / SLOTS)
#ifdef MUTANT_NO_INCARNATION
#define alive(p) ((p) != NONE && is_member(slot(p)))
#define same(p, i) ((p) != NONE && slot(p) == (i))
#else
#define alive(p) lives(p)
#define same(p, i) ((p) == self(i))
#endif
#ifndef REACH
#define REACH(i, j) true
#endif
/* Peer p answers i. */
#define answers(i, p) (alive(p) && REACH(i, slot(p)))

/* A6: while an answer to its own query is on its way a node says Busy. */
#ifdef SPLIT
#ifdef MUTANT_NO_BUSY
#define busy(i) false
#else
#define busy(i) (q[i] == STABILIZED || q[i] == CONFIRMED)
#endif
#else
#define busy(i) false
#endif

/* ---- the list (successors.c) ---- */

/* The list [a, b], cut where it would wrap past its owner. */
#ifdef MUTANT_WRAP
#define rest(i, a, b) (b)
#else
#define rest(i, a, b) (((b) != NONE && between(slot(a), slot(b), i)) -> (b) : NONE)
#endif
#ifdef MUTANT_EQUAL_ENDS
#define first(i, a) (between(i, slot(a), i) -> (a) : NONE)
#else
#define first(i, a) (a)
#endif
#ifdef MUTANT_KEEP_REST
/* Only the first entry is new, the rest of the list is refreshed at another time. */
#define NEW_REST(i, a, b) (s1[i])
#else
#define NEW_REST(i, a, b) rest(i, a, b)
#endif

inline adopt(own, head, tail) {
    x = head; y = NEW_REST(own, head, tail);
    s0[own] = first(own, x); s1[own] = y; lost[own] = 0;
    x = 0; y = 0
}

#ifndef BURY
#define BURY(i, d) skip
#endif

/* This life of d is over for i: out of everything at once (peers.c, peer_over). */
inline forget(own, gone) {
    z = gone;
    BURY(own, z);
    if
    :: s0[own] == z -> s0[own] = s1[own]; s1[own] = NONE; lost[own]++
    :: s1[own] == z -> s1[own] = NONE; lost[own]++
    :: else
    fi;
#ifndef MUTANT_DEAD_PREDECESSOR_STAYS
    if :: pred[own] == z -> pred[own] = NONE :: else fi;
#endif
    if :: cand[own] == z -> cand[own] = NONE :: else fi;
    if :: q[own] != IDLE && qp[own] == z -> q[own] = IDLE; qp[own] = NONE;
#ifdef SPLIT
        rk[own] = NONE; rc[own] = NONE
#endif
    :: else fi;
    z = 0
}

#define knows(i, p) (s0[i] == (p) || s1[i] == (p) || pred[i] == (p) || cand[i] == (p) || qp[i] == (p))

/* i hears from j: an earlier life of j is over. */
#ifdef MUTANT_NO_INCARNATION
#define heard(i, j) skip
#else
inline heard(at, from) {
    if :: life[from] == 1 && knows(at, from) -> forget(at, from) :: else fi
}
#endif

/* ---- stabilize, notify, rectify (stabilize.c) ---- */

/* A notify in flight is not overtaken by a second one; stabilize sends it again. */
inline notify_send(by) {
#ifndef MUTANT_NO_NOTIFY
    if :: note[by] == NONE -> note[by] = s0[by] :: else fi
#else
    skip
#endif
}

#define notify_records(i, j) (!same(pred[j], i) && (cand[j] == NONE || between(slot(cand[j]), i, j)))

/* In runs for liveness a notify that would record nothing is not sent; for safety it is. */
#ifdef LIVE
#define notify_worth(i, j) (note[i] == NONE && notify_records(i, j))
#else
#define notify_worth(i, j) (note[i] == NONE && !same(pred[j], i))
#endif

/* The predecessor c of the first successor t is a candidate to come between. */
#ifdef MUTANT_NO_BETWEEN
#define candidate(i, t, c) ((c) != NONE && !same(c, i))
#define nearer(i, c) true
#else
#define candidate(i, t, c) ((c) != NONE && between(i, slot(c), t))
#define nearer(i, c) (s0[i] == NONE || between(i, slot(c), slot(s0[i])))
#endif

#define CAN_STABILIZE(i) \
    (q[i] == IDLE && answers(i, s0[i]) && !busy(slot(s0[i])) \
     && (s1[i] != NEW_REST(i, s0[i], s0[slot(s0[i])]) || candidate(i, slot(s0[i]), pred[slot(s0[i])]) \
         || notify_worth(i, slot(s0[i]))))

/* S1: the first successor's own list and its predecessor. */
inline stabilize_write(me, succ, list, before) {
    adopt(me, succ, list);
    if
    :: candidate(me, slot(succ), before) ->
        q[me] = CANDIDATE; qp[me] = before
    :: else ->
        q[me] = IDLE; qp[me] = NONE;
        if :: !same(before, me) -> notify_send(me) :: else fi
    fi
}

inline stabilize(i) {
    printf("%d stabilize asked=%d\n", i, s0[i]);
    w = slot(s0[i]);
    heard(w, i);
#ifdef SPLIT
    q[i] = STABILIZED; qp[i] = s0[i]; rk[i] = s0[w]; rc[i] = pred[w];
#else
    stabilize_write(i, s0[i], s0[w], pred[w]);
#endif
    w = 0
}

#define CAN_CONFIRM(i) (q[i] == CANDIDATE && answers(i, qp[i]) && !busy(slot(qp[i])))

#ifndef MERGE_TELL
#define MERGE_TELL(t, p) skip
#endif

/* S2: the candidate has answered, so it lives; its own list comes with the answer. */
inline confirm_write(me, who, list) {
    if
    :: nearer(me, who) ->
        y = s0[me];
#ifdef MUTANT_S2_KEEPS_LIST
        s1[me] = s1[me]; s0[me] = who;
#else
        z = who;
        s0[me] = z; s1[me] = NEW_REST(me, z, list); lost[me] = 0; z = 0;
#endif
        if :: y != NONE -> MERGE_TELL(slot(who), y) :: else fi;
        y = 0
    :: else
    fi;
    q[me] = IDLE; qp[me] = NONE;
    notify_send(me)
}

inline confirm(i) {
    printf("%d stabilize asked=%d (candidate)\n", i, qp[i]);
    w = slot(qp[i]);
    heard(w, i);
#ifdef SPLIT
    q[i] = CONFIRMED; rk[i] = s0[w];
#else
    confirm_write(i, qp[i], s0[w]);
#endif
    w = 0
}

#ifdef SPLIT
inline answered(i) {
    printf("%d stabilize, the answer of %d\n", i, qp[i]);
    x = qp[i]; y = rk[i]; z = rc[i];
    rk[i] = NONE; rc[i] = NONE;
    if
    :: q[i] == STABILIZED ->
        s0[i] = x; s1[i] = rest(i, x, y); lost[i] = 0;
        if
        :: candidate(i, slot(x), z) -> q[i] = CANDIDATE; qp[i] = z
        :: else ->
            q[i] = IDLE; qp[i] = NONE;
            if :: !same(z, i) -> notify_send(i) :: else fi
        fi
    :: else ->
        if
        :: nearer(i, x) ->
            s0[i] = x; s1[i] = rest(i, x, y); lost[i] = 0
        :: else
        fi;
        q[i] = IDLE; qp[i] = NONE;
        notify_send(i)
    fi;
    x = 0; y = 0; z = 0
}
#endif

/* The candidate is silent: it is not adopted, and the first successor is told of us. */
#define CAN_GIVE_UP(i) (q[i] == CANDIDATE && !answers(i, qp[i]))
inline give_up(i) {
    printf("%d failure asked=%d (candidate)\n", i, qp[i]);
#ifdef MUTANT_ADOPT_UNASKED
    s1[i] = s0[i]; s0[i] = qp[i]; q[i] = IDLE; qp[i] = NONE
#else
    if
    :: knows(i, qp[i]) && (s0[i] == qp[i] || s1[i] == qp[i] || pred[i] == qp[i] || cand[i] == qp[i]) ->
        forget(i, qp[i])
    :: else ->
        q[i] = IDLE; qp[i] = NONE;
        if :: s0[i] != NONE -> notify_send(i) :: else fi
    fi
#endif
}

/* A living predecessor gives way to a nearer one only. */
inline predecessor_set(own, new) {
    assert(!lives(pred[own]) || inside(slot(pred[own]), slot(new), own));
    pred[own] = new
}

/* A notify arrives. It only records a candidate. */
inline notify_arrive(i) {
    printf("%d notify asked=%d\n", i, note[i]);
    w = slot(note[i]);
    if
    :: answers(i, note[i]) ->
        heard(w, i);
#ifdef MUTANT_NOTIFY_ADOPTS
        predecessor_set(w, self(i))
#else
        if :: notify_records(i, w) -> cand[w] = self(i) :: else fi
#endif
    :: else
    fi;
    note[i] = NONE;
    w = 0
}

/* The old predecessor is asked before it is replaced. */
#define CAN_RECTIFY(i) (q[i] == IDLE && cand[i] != NONE && (pred[i] == NONE || answers(i, pred[i])))
inline rectify(i) {
    printf("%d rectify asked=%d candidate=%d\n", i, pred[i], cand[i]);
    if
    :: pred[i] == NONE -> predecessor_set(i, cand[i])
#ifdef MUTANT_RECTIFY_ANY
    :: pred[i] != NONE -> predecessor_set(i, cand[i])
#else
    :: pred[i] != NONE && between(slot(pred[i]), slot(cand[i]), i) ->
        predecessor_set(i, cand[i])
    :: pred[i] != NONE && !between(slot(pred[i]), slot(cand[i]), i)
#endif
    fi;
    cand[i] = NONE
}

/* ---- the failure detector: who is asked and silent is over ---- */

#ifdef MUTANT_DEAD_SUCCESSOR_STAYS
#define CAN_FAIL_SUCCESSOR(i) false
#else
#define CAN_FAIL_SUCCESSOR(i) (s0[i] != NONE && !answers(i, s0[i]))
#endif
#ifdef MUTANT_DEAD_PREDECESSOR_STAYS
#define CAN_FAIL_PREDECESSOR(i) false
#else
#define CAN_FAIL_PREDECESSOR(i) (pred[i] != NONE && !answers(i, pred[i]))
#endif
/* Lookups and data may also find an entry silent that no maintenance asks: allowed, not owed. */
#ifdef LIVE
#define CAN_FAIL_OTHER(i) false
#else
#define CAN_FAIL_OTHER(i) (s1[i] != NONE && !answers(i, s1[i]))
#endif

inline fail_peer(i, p) {
    printf("%d failure asked=%d\n", i, p);
    forget(i, p)
}

inline clear(i) {
    s0[i] = NONE; s1[i] = NONE; pred[i] = NONE; cand[i] = NONE; q[i] = IDLE; qp[i] = NONE;
    note[i] = NONE; lost[i] = 0;
#ifdef SPLIT
    rk[i] = NONE; rc[i] = NONE;
#endif
}

/* ---- what ideal means ---- */

#define nth(i, k) (((i) + (k)) % SLOTS)

byte a, b, c, k, m;
bool ideal = false; /* a function of the state, kept at hand for the formula */

/* The list and predecessor that member i has in an ideal ring: in b, c and a. */
inline ideal_of(owner) {
    a = NONE; b = NONE; c = NONE;
    for (k : 1 .. SLOTS - 1) {
        if
        :: is_member(nth(owner, k)) ->
            a = self(nth(owner, k));
            if
            :: b == NONE -> b = a
            :: b != NONE && c == NONE -> c = a
            :: else
            fi
        :: else
        fi
    }
}

inline judge_ideal() {
    ideal = true;
    for (m : 0 .. SLOTS - 1) {
        if
        :: is_member(m) ->
            ideal_of(m);
            ideal = ideal && s0[m] == b && s1[m] == c && pred[m] == a
        :: else
        fi
    };
    a = 0; b = 0; c = 0; k = 0; m = 0
}

/* Lists are ordered and have no self and no duplicate. */
#define list_ordered(i) \
    ((s0[i] == NONE && s1[i] == NONE) \
     || (s0[i] != NONE && slot(s0[i]) != (i) \
         && (s1[i] == NONE || (slot(s1[i]) != (i) && dist(i, slot(s0[i])) < dist(i, slot(s1[i]))))))

/* A ring in which no step would change anything is ideal. */
proctype rest_is_ideal() {
    timeout -> assert(ideal)
}
