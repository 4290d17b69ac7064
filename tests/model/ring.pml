/* SPDX-License-Identifier: MIT */
/*
 * The ring under the assumptions of Zave's proof (2017): members fail only as A4 and A5 allow and
 * no member is suspected falsely (A3). Checked after each step: the inductive invariant, one
 * ordered ring, ordered lists. With -DLIVE: from every reachable state the ring becomes ideal and
 * stays so when nobody joins or fails any more.
 */
#ifndef JOINS
#define JOINS 2
#endif
#ifndef FAILURES
#define FAILURES 2
#endif
#ifndef RETURNS
#define RETURNS 1
#endif
#ifndef FOUNDERS
#define FOUNDERS 3
#endif
#define BASE 3 /* list length + 1 */

#include "node.pml"

byte joins = JOINS;
byte failures = FAILURES;
byte returns = RETURNS;
byte principals = 0; /* a bit per slot; a function of the state */

/* ---- Zave's invariant ---- */

/* Member j is passed over by the list (e, f) of i; an entry that names another life is not j. */
#define list_skips(i, e, f, j) \
    ((i) != (j) && (e) != NONE \
     && (inside(i, j, slot(e)) || (slot(e) == (j) && (e) != self(j)) \
         || ((f) != NONE && (inside(slot(e), j, slot(f)) || (slot(f) == (j) && (f) != self(j))))))
#ifdef SPLIT
/* What i has read counts as its list already: Busy lets nobody see that it is not (A6). */
#define awaits(i) (q[i] == STABILIZED || q[i] == CONFIRMED || st[i] == ASKED)
#define e0(i) (awaits(i) -> qp[i] : s0[i])
#define e1(i) (awaits(i) -> rest(i, qp[i], rk[i]) : s1[i])
#define listed(i) (is_member(i) || st[i] == ASKED)
#else
#define e0(i) s0[i]
#define e1(i) s1[i]
#define listed(i) is_member(i)
#endif
#define skips(i, j) (listed(i) && list_skips(i, e0(i), e1(i), j))

#define bit(set, i) (((set) >> (i)) & 1)
#define count5(set) (bit(set, 0) + bit(set, 1) + bit(set, 2) + bit(set, 3) + bit(set, 4))

#define best(i) (lives(e0(i)) -> slot(e0(i)) : slot(e1(i)))

inline check() {
    d_step {
        principals = 0;
        for (m : 0 .. SLOTS - 1) {
            if
            :: is_member(m) ->
                assert(list_ordered(m));
                assert(lives(e0(m)) || lives(e1(m))); /* OneLiveSuccessor */
                a = 1;
                for (k : 0 .. SLOTS - 1) {
                    if :: skips(k, m) -> a = 0 :: else fi
                };
                principals = principals | (a << m)
            :: else
            fi
        };
        assert(count5(principals) >= BASE); /* SufficientPrincipals */
        /* One ring: whoever follows its first live successors comes to the same cycle, which goes
         * round the circle once. */
        b = 0; /* the cycle */
        for (m : 0 .. SLOTS - 1) {
            if
            :: is_member(m) ->
                a = m;
                for (k : 1 .. SLOTS) { a = best(a) };
                if
                :: b == 0 ->
                    c = 0; k = a;
                    do
                    :: b = b | (1 << k); c = c + dist(k, best(k)); k = best(k);
                        if :: k == a -> break :: else fi
                    od;
                    assert(c == SLOTS)
                :: else -> assert(bit(b, a))
                fi
            :: else
            fi
        };
        judge_ideal()
    }
}

/* ---- failures: A4 and A5 ---- */

#define entry_gone(p, i) ((p) != NONE && (slot(p) == (i) || !lives(p)))
#ifdef SPLIT
#define gone_since(i) (awaits(i) -> 0 : lost[i])
#else
#define gone_since(i) lost[i]
#endif
/* A4: no list loses all its entries before it was refreshed. An entry removed since counts. */
#define keeps_one(j, i) \
    ((j) == (i) || !listed(j) || entry_gone(e0(j), i) + entry_gone(e1(j), i) + gone_since(j) < 2)
#define A4(i) (keeps_one(0, i) && keeps_one(1, i) && keeps_one(2, i) && keeps_one(3, i) && keeps_one(4, i))
/* A5: of exactly N+1 principals none fails. */
#define A5(i) (count5(principals) > BASE || !bit(principals, i))
#define CAN_DIE(i) (is_member(i) && failures > 0 && A4(i) && A5(i))

inline die(i) {
    printf("%d dead\n", i);
    failures--;
    st[i] = DEAD;
#ifdef MUTANT_OLD_SELF
    q[i] = IDLE; qp[i] = NONE; note[i] = NONE
#else
    clear(i)
#endif
}

#define CAN_RETURN(i) (st[i] == DEAD && returns > 0 && life[i] == 0)
inline come_back(i) {
    printf("%d back\n", i);
    returns--;
#ifdef MUTANT_OLD_SELF
    st[i] = MEMBER
#else
    life[i] = 1;
    st[i] = OUT
#endif
}

/* ---- join and admit (join.c, admit.c) ---- */

/* Any member may be asked: a lookup may have been led astray. It admits before itself only. */
#ifdef MUTANT_ADMIT_ANYWHERE
#define admits(t, j) (pred[t] != NONE)
#else
#ifdef MUTANT_ADMIT_WITHOUT_PREDECESSOR
#define admits(t, j) (pred[t] == NONE || between(slot(pred[t]), j, t))
#else
#define admits(t, j) (pred[t] != NONE && between(slot(pred[t]), j, t))
#endif
#endif
#define CAN_JOIN(j, t) \
    ((j) != (t) && st[j] == OUT && (joins > 0 || life[j] == 1) && is_member(t) && admits(t, j))

inline join(j, t) {
    printf("%d join asked=%d\n", j, self(t));
    if :: life[j] == 0 -> joins-- :: else fi;
    heard(t, j);
#ifdef SPLIT
    st[j] = ASKED; qp[j] = self(t); rk[j] = s0[t]
#else
    st[j] = MEMBER;
#ifdef MUTANT_JOIN_SHORT
    adopt(j, self(t), NONE)
#else
#ifdef MUTANT_JOIN_STALE_REST
    adopt(j, self(t), s1[t])
#else
    adopt(j, self(t), s0[t])
#endif
#endif
#endif
}

/* A returner is heard of before it is let in. */
#define CAN_BE_HEARD(j, t) ((j) != (t) && st[j] == OUT && life[j] == 1 && is_member(t) && knows(t, j))

#define JOIN(t) \
    :: atomic { CAN_JOIN(i, t) -> join(i, t); check() } \
    :: atomic { CAN_BE_HEARD(i, t) -> heard(t, i); check() }

/* With an answer on its way a node finds nobody dead: the answer comes first. */
#ifdef SPLIT
#define SETTLED(i) (!awaits(i))
#else
#define SETTLED(i) true
#endif

proctype node(byte i) {
end:
    do
    JOIN(0)
    JOIN(1)
    JOIN(2)
    JOIN(3)
    JOIN(4)
#ifdef SPLIT
    :: atomic { st[i] == ASKED ->
            x = qp[i]; y = rk[i]; clear(i);
            st[i] = MEMBER; s0[i] = x; s1[i] = rest(i, x, y); x = 0; y = 0;
            check() }
    :: atomic { is_member(i) && (q[i] == STABILIZED || q[i] == CONFIRMED) -> answered(i); check() }
#endif
    :: atomic { is_member(i) && CAN_STABILIZE(i) -> stabilize(i); check() }
    :: atomic { is_member(i) && CAN_CONFIRM(i) -> confirm(i); check() }
    :: atomic { is_member(i) && CAN_GIVE_UP(i) -> give_up(i); check() }
    :: atomic { is_member(i) && note[i] != NONE -> notify_arrive(i); check() }
    :: atomic { is_member(i) && CAN_RECTIFY(i) -> rectify(i); check() }
    :: atomic { is_member(i) && SETTLED(i) && CAN_FAIL_SUCCESSOR(i) -> fail_peer(i, s0[i]); check() }
    :: atomic { is_member(i) && SETTLED(i) && CAN_FAIL_PREDECESSOR(i) -> fail_peer(i, pred[i]); check() }
    :: atomic { is_member(i) && SETTLED(i) && CAN_FAIL_OTHER(i) -> fail_peer(i, s1[i]); check() }
    :: atomic { CAN_DIE(i) -> die(i); check() }
    :: atomic { CAN_RETURN(i) -> come_back(i); check() }
    od
}

/* Joins, failures and returns end at some time. */
proctype environment() {
    d_step { joins = 0; failures = 0; returns = 0 }
}

inline found(i) { st[i] = MEMBER }

init {
    atomic {
        for (m : 0 .. SLOTS - 1) { clear(m) };
        /* The two ways to place three members on five ids, up to rotation. */
        found(0);
        found(1);
#ifdef MUTANT_START_SMALL
        skip;
#elif FOUNDERS == 4
        found(2); found(3);
#else
        if :: found(2) :: found(3) fi;
#endif
        for (m : 0 .. SLOTS - 1) {
            if
            :: is_member(m) -> ideal_of(m); s0[m] = b; s1[m] = c; pred[m] = a
            :: else
            fi
        };
        check();
        run node(0); run node(1); run node(2); run node(3); run node(4);
#ifdef LIVE
        run environment();
#endif
#ifdef REST
        run rest_is_ideal()
#endif
    }
}

#if defined(LIVE) && !defined(REST)
ltl becomes_ideal { <>[] ideal }
#endif
