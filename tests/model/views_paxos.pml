/* SPDX-License-Identifier: MIT */
/*
 * Model: one decision per (range, epoch), and a merge as one decision of two ranges. Three acceptors
 * hold an instance for range 0 and one for range 1; both ranges have the same members and leader.
 * Ballot 0 is the leader's: it sends Accept without Prepare, one value for good: a change of one
 * range, or the merge of both. Others use ballots 1..BALLOTS and propose again what they find.
 *
 * A merge is accepted in both instances or in neither, in one transaction. Who finds it prepares the
 * other instance with the same ballot, and gives it up only when that shows another value at a
 * higher ballot, or that the other instance was decided otherwise.
 *
 * Messages are never removed (see views.pml). Questions asked: is ever a second value chosen in an
 * instance; is the merge chosen in one of them only.
 */
#ifndef BALLOTS
#define BALLOTS 2
#endif
#define ACCEPTORS 3
#define SLOTS (BALLOTS + 1)

#define NOTHING 0
#define MERGE 1
#define CHANGE(ballot) (2 + (ballot)) /* an owner change or a member change: each ballot its own */

#define BIT(q)        (1 << (q))
#define IN(q, mask)   (((mask) >> (q)) & 1)
#define MAJORITY(m)   ((m) == 3 || (m) >= 5)
#define AT(r, ballot) ((r) * SLOTS + (ballot))

/* Durable, per acceptor and range: at [range * ACCEPTORS + acceptor]. */
byte promised[2 * ACCEPTORS];
byte accepted[2 * ACCEPTORS]; /* ballot + 1 */
bit done[2 * ACCEPTORS];      /* it has heard the decision: the instance is closed */
byte crashes;

/* Per range and ballot: messages, and what the proposer of that ballot has counted. */
byte value[2 * SLOTS]; /* sent with Accept */
byte promises[2 * SLOTS];
byte best[2 * SLOTS]; /* the highest ballot + 1 in the promises */
byte accepts[2 * SLOTS];
byte chosen[2]; /* 0 or a value */
bit closed[2 * SLOTS]; /* the proposer has heard that the instance is decided */
#ifdef MUTANT_BALLOT_0_TWICE
bit again;
#endif

/* The proposer sends its Accept; what it has counted is not needed any more. */
inline propose(r, ballot, what) {
    value[AT(r, ballot)] = what;
    promises[AT(r, ballot)] = 0;
    best[AT(r, ballot)] = 0;
    closed[AT(1 - (r), ballot)] = 0
}

inline choose(r, ballot) {
    if
    :: MAJORITY(accepts[AT(r, ballot)]) ->
        assert(chosen[r] == NOTHING || chosen[r] == value[AT(r, ballot)]);
        chosen[r] = value[AT(r, ballot)];
        /* a merge chosen in one range must never be contradicted in the other */
        assert(chosen[0] == NOTHING || chosen[1] == NOTHING ||
               (chosen[0] == MERGE) == (chosen[1] == MERGE))
    :: else
    fi
}

#define PLACE(r, q)          ((r) * ACCEPTORS + (q))
#define FREE(r, q, ballot)   (!done[PLACE(r, q)] && promised[PLACE(r, q)] <= (ballot))
#define ACCEPTS(r, q, ballot)                                                               \
    promised[PLACE(r, q)] = ballot;                                                         \
    accepted[PLACE(r, q)] = (ballot) + 1;                                                   \
    accepts[AT(r, ballot)] = accepts[AT(r, ballot)] | BIT(q)

/* Acceptor q and the messages of one ballot. */
proctype Acceptor(byte q; byte ballot) {
end:
    do
    /* Prepare */
#define ON_PREPARE(r)                                                                       \
    :: d_step {                                                                             \
        ballot > 0 && value[AT(r, ballot)] == NOTHING && !done[PLACE(r, q)] &&              \
            promised[PLACE(r, q)] < ballot ->                                               \
        promised[PLACE(r, q)] = ballot;                                                     \
        promises[AT(r, ballot)] = promises[AT(r, ballot)] | BIT(q);                         \
        if                                                                                  \
        :: accepted[PLACE(r, q)] > best[AT(r, ballot)] ->                                   \
            best[AT(r, ballot)] = accepted[PLACE(r, q)]                                     \
        :: else                                                                             \
        fi                                                                                  \
    }                                                                                       \
    :: d_step {                                                                             \
        ballot > 0 && done[PLACE(r, q)] && !closed[AT(r, ballot)] &&                       \
            value[AT(1 - (r), ballot)] == NOTHING ->                                        \
        closed[AT(r, ballot)] = 1                                                           \
    }
    ON_PREPARE(0)
    ON_PREPARE(1)
    /* Accept */
#ifdef MUTANT_MERGE_IN_ONE
#define OTHER_THAN_MERGE(r) true
#else
#define OTHER_THAN_MERGE(r) (value[AT(r, ballot)] != MERGE)
#endif
#define ON_ACCEPT(r)                                                                        \
    :: d_step {                                                                             \
        value[AT(r, ballot)] != NOTHING && OTHER_THAN_MERGE(r) && FREE(r, q, ballot) &&     \
            !IN(q, accepts[AT(r, ballot)]) ->                                               \
        ACCEPTS(r, q, ballot);                                                              \
        choose(r, ballot)                                                                   \
    }
    ON_ACCEPT(0)
    ON_ACCEPT(1)
#ifndef MUTANT_MERGE_IN_ONE
    :: d_step {
        value[AT(0, ballot)] == MERGE && value[AT(1, ballot)] == MERGE && FREE(0, q, ballot) &&
            FREE(1, q, ballot) && !IN(q, accepts[AT(0, ballot)]) ->
        ACCEPTS(0, q, ballot);
        ACCEPTS(1, q, ballot);
        choose(0, ballot);
        choose(1, ballot)
    }
#endif
    od
}

/* Decided arrives, or the acceptor restarts. */
proctype Store(byte q) {
end:
    do
    :: d_step { chosen[0] != NOTHING && !done[PLACE(0, q)] -> done[PLACE(0, q)] = 1 }
    :: d_step { chosen[1] != NOTHING && !done[PLACE(1, q)] -> done[PLACE(1, q)] = 1 }
#ifdef MUTANT_PROMISE_NOT_STORED
    :: d_step {
        crashes < 1 && !done[PLACE(0, q)] && promised[PLACE(0, q)] != 0 ->
        crashes++;
        promised[PLACE(0, q)] = 0
    }
#endif
#ifdef MUTANT_ACCEPT_NOT_STORED
    :: d_step {
        crashes < 1 && !done[PLACE(0, q)] && accepted[PLACE(0, q)] != 0 ->
        crashes++;
        accepted[PLACE(0, q)] = 0
    }
#endif
    od
}

/* The leader: ballot 0. */
#define LEADER_MAY (value[AT(0, 0)] == NOTHING && value[AT(1, 0)] == NOTHING)
proctype Leader() {
end:
    do
    :: d_step { LEADER_MAY -> value[AT(0, 0)] = MERGE; value[AT(1, 0)] = MERGE }
    :: d_step {
        value[AT(0, 0)] == NOTHING && value[AT(1, 0)] != MERGE -> value[AT(0, 0)] = CHANGE(0)
    }
    :: d_step {
        value[AT(1, 0)] == NOTHING && value[AT(0, 0)] != MERGE -> value[AT(1, 0)] = CHANGE(0)
    }
#ifdef MUTANT_BALLOT_0_TWICE
    /* it gives its merge up and tries something else with the same ballot */
    :: d_step {
        value[AT(0, 0)] == MERGE && !again && !MAJORITY(accepts[AT(0, 0)]) ->
        again = 1;
        value[AT(0, 0)] = CHANGE(0);
        value[AT(1, 0)] = CHANGE(0)
    }
#endif
    od
}

/* What the promises of (r, ballot) oblige to. */
#define FOUND(r) (best[AT(r, ballot)] == 0 -> NOTHING : value[AT(r, best[AT(r, ballot)] - 1)])
#define HEARD(r) (MAJORITY(promises[AT(r, ballot)]))
#define OPEN(r)  (value[AT(r, ballot)] == NOTHING && HEARD(r))

/* Proposer of one ballot above 0. Whether it wants range 0 or 1 or both is left open. */
proctype Proposer(byte ballot) {
    byte found;
end:
    do
#define ON_PROMISES(r)                                                                      \
    :: d_step { OPEN(r) && FOUND(r) == NOTHING -> propose(r, ballot, CHANGE(ballot)) }   \
    :: d_step { OPEN(r) && FOUND(r) > MERGE -> found = FOUND(r); propose(r, ballot, found); found = 0 } \
    /* a merge that cannot have been chosen */                                              \
    :: d_step {                                                                             \
        OPEN(r) && FOUND(r) == MERGE && DISPROVED(r) ->                                     \
        propose(r, ballot, CHANGE(ballot))                                               \
    }
#ifdef MUTANT_MERGE_GIVEN_UP
#define DISPROVED(r) true
#else
#define DISPROVED(r)                                                                        \
    ((closed[AT(1 - (r), ballot)] && chosen[1 - (r)] != MERGE) ||                           \
     (HEARD(1 - (r)) && best[AT(1 - (r), ballot)] > best[AT(r, ballot)] &&                  \
      FOUND(1 - (r)) != MERGE))
#endif
    ON_PROMISES(0)
    ON_PROMISES(1)
#ifdef MUTANT_MERGE_PREPARED_IN_ONE
    :: d_step {
        OPEN(0) && FOUND(0) == MERGE && value[AT(1, ballot)] == NOTHING ->
        propose(0, ballot, MERGE);
        propose(1, ballot, MERGE)
    }
#endif
#ifdef MUTANT_FOUND_IGNORED
    :: d_step { OPEN(0) -> propose(0, ballot, CHANGE(ballot)) }
#endif
    :: d_step {
        OPEN(0) && OPEN(1) && FOUND(0) == MERGE && FOUND(1) == MERGE ->
        propose(0, ballot, MERGE);
        propose(1, ballot, MERGE)
    }
    od
}

init {
    byte b = 0;
    byte q;
    atomic {
        run Leader();
        do
        :: b <= BALLOTS ->
            if
            :: b > 0 -> run Proposer(b)
            :: else
            fi;
            run Acceptor(0, b);
            run Acceptor(1, b);
            run Acceptor(2, b);
            b++
        :: else -> break
        od;
        b = 0;
        run Store(0);
        run Store(1);
        run Store(2)
    }
}
