/* SPDX-License-Identifier: MIT */
/*
 * Model: a disk is copied, and the copy runs beside the original at another address
 * (node/chord/README.md, "Seats"). One view with three members at their addresses, processes 0 to 2;
 * process 3 has a copy of the disk of store 2, made at any moment, with its promises, acceptances and
 * rows. What follows the view is one decision; then the next leader settles the rows.
 *
 * A seat is a store at an address: process 3 is not at the seat of its store. Its vote counts only in
 * a decision that all three stores take part in (of n stores n - majority + 2). Such a decision may
 * give it the seat; then so many copies are merged, and have switched, before that view serves.
 *
 * Messages are never removed (see views.pml). Questions asked: is ever a second value chosen; is an
 * acknowledged write lost; is the old leader ever sure that it still leads when the next one serves.
 * Two runs: -DBALLOTS=2 asks the first, -DROWS -DBALLOTS=1 the others.
 */
#ifndef LEADER
#define LEADER 0 /* of the first view: a process that is at its seat */
#endif
#ifndef BALLOTS
#define BALLOTS 2
#endif
#ifndef WRITES
#define WRITES 1
#endif
#define COPY   3
#define NOBODY 7

#define BIT(q)       (1 << (q))
#define IN(q, mask)  (((mask) >> (q)) & 1)
#define SEATED(mask) (((mask) & 1) + (((mask) >> 1) & 1) + (((mask) >> 2) & 1))
#define STORES(mask) (((mask) & 1) + (((mask) >> 1) & 1) + (((mask) > 3) -> 1 : 0))
#ifdef MUTANT_UNSEATED_COUNTS
#define QUORUM(mask) (STORES(mask) >= 2)
#else
#define QUORUM(mask) (SEATED(mask) >= 2 || STORES(mask) == 3)
#endif

/* Durable, per process. */
byte promised[4];
byte accepted[4]; /* ballot + 1 */
byte rows[4];     /* bit per write */
bit switched[4];
bit copied;

/* Per ballot: 0 is the leader's, who sends Accept at once; the others prepare. */
byte proposer[BALLOTS + 1];
byte promises[BALLOTS + 1];
byte best[BALLOTS + 1];
byte value[BALLOTS + 1]; /* the ballot at which it was proposed first, + 1 */
byte accepts[BALLOTS + 1];
bit moves[BALLOTS + 1]; /* by that ballot: the seat of store 2 is at process 3 now */
byte leads[BALLOTS + 1];
byte chosen;
#ifdef MUTANT_SAME_BALLOT
byte twin; /* process 3 proposes with the ballot that process 2 uses: what, */
byte twin_accepts; /* and who has accepted it */
#endif

/* Writes of the first view's leader. */
byte acks[WRITES];
byte acked; /* bit per write */

/* The next view. */
byte merged;
byte settled_rows;
bit serves;

inline choose(b) {
    if
    :: QUORUM(accepts[b]) && IN(proposer[b], accepts[b]) ->
        assert(chosen == 0 || chosen == value[b]);
        chosen = value[b]
    :: else
    fi
}

/* Accept goes out; what was counted is not needed any more. */
#ifdef MUTANT_SAME_BALLOT
#define counted(b) skip
#else
#define counted(b)                                                                          \
    promises[b] = 0;                                                                        \
    best[b] = 0
#endif

/* Who votes: a process that has heard of the next view does not vote about this one. */
proctype Voter(byte q; byte b) {
end:
    do
    :: d_step {
        b > 0 && proposer[b] != NOBODY && value[b] == 0 && !switched[q] && promised[q] < b &&
            (q != COPY || copied) ->
        promised[q] = b;
        promises[b] = promises[b] | BIT(q);
        if
        :: accepted[q] > best[b] -> best[b] = accepted[q]
        :: else
        fi
    }
    :: d_step {
        value[b] != 0 && !switched[q] && promised[q] <= b && !IN(q, accepts[b]) &&
            (q != COPY || copied) ->
        promised[q] = b;
        accepted[q] = b + 1;
        accepts[b] = accepts[b] | BIT(q);
        choose(b)
    }
#ifdef MUTANT_SAME_BALLOT
    :: d_step {
        b == 1 && twin != 0 && !switched[q] && promised[q] <= b && !IN(q, twin_accepts) &&
            (q != COPY || copied) ->
        promised[q] = b;
        accepted[q] = b + 1;
        twin_accepts = twin_accepts | BIT(q);
        assert(!QUORUM(twin_accepts) || chosen == 0 || chosen == twin)
    }
#endif
    od
}

/* The proposer of a ballot above 0: any process, at its seat or not; its own vote is among them. */
proctype Proposer(byte b) {
end:
    do
#define BEGINS(q, gate)                                                                     \
    :: d_step {                                                                             \
        proposer[b] == NOBODY && !switched[q] && promised[q] < b && (gate) ->               \
        proposer[b] = q                                                                     \
    }
    BEGINS(0, true)
    BEGINS(1, true)
    BEGINS(2, true)
    BEGINS(3, copied)
    :: d_step {
        value[b] == 0 && proposer[b] != NOBODY && IN(proposer[b], promises[b]) &&
            QUORUM(promises[b]) && best[b] != 0 ->
        value[b] = value[best[b] - 1];
        counted(b)
    }
    /* nothing is found: the proposer leads, and the seat of store 2 stays where it is, ... */
    :: d_step {
        value[b] == 0 && proposer[b] < COPY && IN(proposer[b], promises[b]) &&
            QUORUM(promises[b]) && best[b] == 0 ->
        value[b] = b + 1;
        leads[b] = proposer[b];
        counted(b)
    }
    /* ... or goes to the copy */
    :: d_step {
        value[b] == 0 && proposer[b] != NOBODY && proposer[b] != 2 && copied &&
            IN(proposer[b], promises[b]) && QUORUM(promises[b]) && best[b] == 0 ->
        value[b] = b + 1;
        leads[b] = proposer[b];
        moves[b] = 1;
        counted(b)
    }
#ifdef MUTANT_SAME_BALLOT
    :: d_step {
        b == 1 && proposer[b] == 2 && value[b] != 0 && twin == 0 && copied &&
            QUORUM(promises[b] | BIT(COPY)) && best[b] == 0 && promised[COPY] <= b ->
        twin = BALLOTS + 2
    }
#endif
    od
}

/* The first view's leader: ballot 0, and its writes. */
#if defined(MUTANT_UNSEATED_ACKS) || defined(MUTANT_UNSEATED_LEADS)
#define ACKS(w) (SEATED(acks[w]) + IN(COPY, acks[w]) >= 2)
#else
#define ACKS(w) (SEATED(acks[w]) >= 2)
#endif
#define WRITE(w, leader, who)                                                               \
    :: d_step {                                                                             \
        (who) && !switched[leader] && value[0] == 0 && acks[w] == 0 ->                      \
        acks[w] = BIT(leader);                                                              \
        rows[leader] = rows[leader] | BIT(w)                                                \
    }
proctype Leader() {
end:
    do
    :: d_step {
        value[0] == 0 && !switched[LEADER] && promised[LEADER] == 0 ->
        proposer[0] = LEADER;
        value[0] = 1;
        leads[0] = LEADER
    }
#ifdef ROWS
    WRITE(0, LEADER, true)
#if WRITES > 1
    WRITE(1, LEADER, acked & 1)
#endif
#ifdef MUTANT_UNSEATED_LEADS
    WRITE(0, COPY, copied && LEADER == 2)
#endif
#define ACKNOWLEDGE(w)                                                                      \
    :: d_step {                                                                             \
        acks[w] != 0 && !IN(w, acked) && ACKS(w) ->                                         \
        acked = acked | BIT(w);                                                             \
        assert(!serves || IN(w, settled_rows))                                              \
    }
    ACKNOWLEDGE(0)
#if WRITES > 1
    ACKNOWLEDGE(1)
#endif
    /* A read of the old leader: a majority of the seats says that it is still at this view. */
    :: d_step {
        serves && leads[chosen - 1] != LEADER && !switched[LEADER] ->
        assert(!switched[0] + !switched[1] + !switched[2] < 2)
    }
#endif
    od
}

#ifdef MUTANT_UNSEATED_ACKS
#define APPLIES(q) true
#else
#define APPLIES(q) ((q) != COPY)
#endif
#define SEAT_OF_2 (moves[chosen - 1] -> 3 : 2)
proctype Store(byte q) {
end:
    do
    :: d_step {
        acks[0] != 0 && !IN(q, acks[0]) && !switched[q] && APPLIES(q) && (q != COPY || copied) ->
        rows[q] = rows[q] | 1;
        acks[0] = acks[0] | BIT(q)
    }
#if WRITES > 1
    :: d_step {
        acks[1] != 0 && !IN(q, acks[1]) && !switched[q] && APPLIES(q) && (q != COPY || copied) ->
        rows[q] = rows[q] | 2;
        acks[1] = acks[1] | BIT(q)
    }
#endif
#ifdef ROWS
    :: d_step { chosen != 0 && !switched[q] && (q != COPY || copied) -> switched[q] = 1 }
    /* settle: from who is at its seat in the next view, and has switched */
    :: d_step {
        chosen != 0 && !serves && switched[q] && !IN(q, merged) &&
            (q < 2 || q == SEAT_OF_2) ->
        merged = merged | BIT(q);
        settled_rows = settled_rows | rows[q]
    }
#endif
    od
}

#ifdef MUTANT_MOVED_SETTLES_BY_MAJORITY
#define ENOUGH 2
#else
#define ENOUGH (moves[chosen - 1] -> 3 : 2)
#endif
proctype Next() {
end:
    do
    :: d_step {
        chosen != 0 && !serves && STORES(merged) >= ENOUGH && IN(leads[chosen - 1], merged) ->
        serves = 1;
        assert((acked & settled_rows) == acked)
    }
    :: d_step {
        !copied ->
        copied = 1;
        promised[3] = promised[2];
        accepted[3] = accepted[2];
        rows[3] = rows[2];
        switched[3] = switched[2]
    }
    od
}

init {
    byte b = 0;
    atomic {
        do
        :: b <= BALLOTS -> proposer[b] = NOBODY; b++
        :: else -> break
        od;
        b = 0;
        do
        :: b <= BALLOTS ->
            if
            :: b > 0 -> run Proposer(b)
            :: else
            fi;
            run Voter(0, b);
            run Voter(1, b);
            run Voter(2, b);
            run Voter(3, b);
            b++
        :: else -> break
        od;
        b = 0;
        run Leader();
        run Next();
        run Store(0);
        run Store(1);
        run Store(2);
        run Store(3)
    }
}
