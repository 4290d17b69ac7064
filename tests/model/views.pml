/* SPDX-License-Identifier: MIT */
/*
 * Model: the data of one key of one range through changes of its view (node/chord/README.md, "data
 * protocol"). Which decision an epoch gets is taken as agreed here; that Paxos agrees, with the
 * leader's ballot 0, is the question of views_paxos.pml.
 *
 * Messages are never removed: a replica may take any Apply, Check or Decided at any later time and
 * any number of times. So delay, loss, duplication and pauses need no rules of their own. Rows and
 * the epoch are durable; what a leader knows is not. Questions asked: is an acknowledged write ever
 * lost, is a read ever older than what was answered before it began, is a version used twice.
 *
 * Bounds (-D): N stores, START members of epoch 1 (a mask), EPOCHS, WRITES, CRASHES.
 * Changes (-D): OWNER, REPLACE, ADD, REMOVE, MOVE (the leader may move with a change), QUIET (a
 * leader may begin a new epoch with itself), HEARD (members speak before they are read), FORGET (the
 * second write is a delete), RETURNER (see init).
 * Seeded defects (-D): MUTANT_<name>, all listed in views.md.
 */
#ifndef N
#define N 4
#endif
#ifndef START
#define START 7
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

#define BIT(q)        (1 << (q))
#define IN(q, mask)   (((mask) >> (q)) & 1)
#define COUNT(m)      (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1) + (((m) >> 3) & 1))
#define MAJORITY(m, a) (2 * COUNT((a) & (m)) > COUNT(m))
#define EPOCH_OF(w)   (version[w] / 8)
#define NEWER(v, w)   (version[v] > version[w])

/* Writes are numbered 1..WRITES; a row names the write that it holds, 0 is no row. */
byte version[WRITES + 1]; /* epoch * 8 + counter */
byte acks[WRITES + 1];    /* who has stored it in its epoch */
byte base[WRITES + 1];    /* the row that it was compared with */
bit late[WRITES + 1];     /* began when a newer one had been answered: must never be answered */
byte writes;
byte known; /* the newest write that any answer has shown */

/* Durable, per store. */
byte epoch[N];
byte row[N];
byte equal[N]; /* the last epoch whose leader made its copy equal to its own */
#ifdef MUTANT_ACK_BEFORE_STORED
byte pending[N];
#endif

/* Decided views. members 0: not decided. */
byte members[EPOCHS + 2];
byte leader[EPOCHS + 2];

/* What the leader of each epoch knows; lost when it restarts. */
byte proposed[EPOCHS + 1]; /* its own decision, sent with Accept: leader * 16 + members; durable in
                              the acceptors, so it outlives a restart */
bit restarted[EPOCHS + 1];
bit open[EPOCHS + 1];     /* settled */
bit applying[EPOCHS + 1]; /* settle: 0 reads from a majority, 1 applies the greatest */
byte settled_by[EPOCHS + 1];
byte settle_row[EPOCHS + 1];
byte settle_epoch[EPOCHS + 1]; /* that row's: of the write or of the copy, the later */
#ifdef HEARD
byte heard[EPOCHS + 1];        /* the greatest `equal` of those who have spoken: what they say counts
                                  before they are read to the end */
bit unread[EPOCHS + 1];        /* none of those who said so has been */
#endif
byte in_flight[EPOCHS + 1];
byte counter[EPOCHS + 1];
byte learner[EPOCHS + 1]; /* store + 1 */
bit forgetting[EPOCHS + 1];
byte crashes;
#ifdef MUTANT_SETTLE_PULLS_ON
byte synced; /* whom the latest settle made equal, until the next write: a leader goes by this */
#endif

/* The read in progress: one is enough, a wrong pair of reads never overlaps. Only reads whose answer
 * is not what is known already are started. */
byte read_epoch; /* 0: none */
byte read_row;
bit read_wrong; /* older than what was known when it began */
byte read_by;

#define DELETE 2
#ifdef FORGET
#define IS_OLDER(v, w) (NEWER(w, v) && !((v) == 0 && (w) == DELETE))
#else
#define IS_OLDER(v, w) NEWER(w, v)
#endif

#define LEADS(e) (members[e] != 0 && epoch[leader[e]] == (e) && !restarted[e])

inline shown(w) {
    if
    :: NEWER(w, known) -> known = w
    :: else
    fi
}

/* What a copy says of the key counts by this first, then by version. */
#ifdef MUTANT_SETTLE_BY_VERSION
#define COUNTS(q) 0
#else
#define COUNTS(q) (equal[q] > EPOCH_OF(row[q]) -> equal[q] : EPOCH_OF(row[q]))
#endif

/* An older row of a copy that is not the best which spoke is passed over. */
#ifdef HEARD
#define NOT_PASSED_OVER(e, q) (COUNTS(q) >= heard[e])
#else
#define NOT_PASSED_OVER(e, q) true
#endif
inline merge_copy(e, q) {
#ifdef HEARD
    if
    :: equal[q] >= heard[e] -> heard[e] = equal[q]; unread[e] = 0
    :: else
    fi;
#endif
    if
    :: NOT_PASSED_OVER(e, q) && (COUNTS(q) > settle_epoch[e] ||
           (COUNTS(q) == settle_epoch[e] && NEWER(row[q], settle_row[e]))) ->
        settle_row[e] = row[q];
        settle_epoch[e] = COUNTS(q)
    :: else
    fi
}

/* A member who says so; its own leader if there is none. */
#define SAYS(e, q) (IN(q, members[e]) && epoch[q] == (e) && equal[q] == heard[e])
#define BEST(e) (SAYS(e, 0) -> 0 : (SAYS(e, 1) -> 1 : (SAYS(e, 2) -> 2 : (N > 3 && SAYS(e, N - 1) -> N - 1 : leader[e]))))

inline settle_from_nothing(e) {
    settled_by[e] = 0;
    settle_row[e] = 0;
    settle_epoch[e] = 0
#ifdef HEARD
    ;
    heard[e] = 0;
    unread[e] = 0
#endif
}

/* What is answered first of a write: nothing was shown between it and what it replaced. */
inline shown_by_read(w) {
    if
    :: NEWER(w, known) -> assert(!NEWER(known, base[w]))
    :: else
    fi;
    shown(w)
}

inline raise(q, w) {
    if
    :: NEWER(w, row[q]) -> row[q] = w
    :: else
    fi
}

/* What a leader knew goes with it. */
inline volatile_lost(e) {
    open[e] = 0;
    applying[e] = 0;
    settle_from_nothing(e);
    in_flight[e] = 0;
    counter[e] = 0;
    learner[e] = 0;
    forgetting[e] = 0;
    if
    :: members[e + 1] != 0 -> proposed[e] = 0
    :: else
    fi;
    if
    :: read_epoch == e -> read_epoch = 0; read_row = 0; read_wrong = 0; read_by = 0
    :: else
    fi
}

inline decide(e, who, whom) {
    leader[e] = who;
    members[e] = whom
}

/* A store switches in one transaction. The leader of both views stays settled. */
inline switch_to(q, next) {
    was = epoch[q];
    to = next; /* an inline is text: `next` must not be read again below */
    keeps = was + 1 == to && LEADS(was) && open[was] && leader[was] == q && leader[to] == q;
    if
    :: was > 0 && leader[was] == q && !restarted[was] -> volatile_lost(was)
    :: else
    fi;
    epoch[q] = to;
    if
    :: leader[to] != q -> skip
#ifdef MUTANT_SKIP_SETTLE
    :: else -> open[to] = 1
#else
    :: else -> open[to] = keeps
#endif
    fi;
    was = 0;
    to = 0;
    keeps = 0
}

/* Apply(epoch of w, w) arrives at q; the answer leaves after the row is stored. */
#ifdef MUTANT_ACK_BEFORE_STORED
#define STORE_ROW(q, w) pending[q] = w
#else
#define STORE_ROW(q, w) raise(q, w)
#endif
#define TAKE_APPLY(w)                                                                       \
    :: d_step {                                                                             \
        version[w] != 0 && APPLY_EPOCH(w) &&                                                \
            (IN(q, members[EPOCH_OF(w)]) || learner[EPOCH_OF(w)] == q + 1) &&               \
            (NEWER(w, row[q]) || !IN(q, acks[w])) ->                                        \
        STORE_ROW(q, w);                                                                    \
        acks[w] = acks[w] | BIT(q)                                                          \
    }
#ifdef MUTANT_APPLY_ANY_EPOCH
#define APPLY_EPOCH(w) (epoch[q] >= EPOCH_OF(w))
#else
#define APPLY_EPOCH(w) (epoch[q] == EPOCH_OF(w))
#endif

#define E epoch[q]

#ifdef HEARD
#define LAGS(q) (row[leader[E]] != row[q] || (q != leader[E] && equal[q] != E))
#else
#define LAGS(q) (row[leader[E]] != row[q])
#endif

#ifdef MUTANT_ACK_BEFORE_STORED
#define CRASH_MATTERS (pending[q] != 0 || (E > 0 && leader[E] == q && !restarted[E]))
#else
#define CRASH_MATTERS (E > 0 && leader[E] == q && !restarted[E])
#endif

proctype Store(byte q) {
    byte was;
    byte to;
    bit keeps;
end:
    do
    TAKE_APPLY(1)
#if WRITES > 1
    TAKE_APPLY(2)
#endif
#if WRITES > 2
    TAKE_APPLY(3)
#endif
#ifdef MUTANT_ACK_BEFORE_STORED
    :: d_step { pending[q] != 0 -> raise(q, pending[q]); pending[q] = 0 }
#endif
#ifdef HEARD
    /* settle: the first word of a member that has switched */
    :: d_step {
        E > 0 && IN(q, members[E]) && LEADS(E) && !open[E] && !applying[E] &&
            !IN(q, settled_by[E]) && equal[q] > heard[E] ->
        heard[E] = equal[q];
        unread[E] = 1
    }
#endif
    /* settle: Read from a member that has switched; then the greatest row comes back */
    :: d_step {
        E > 0 && IN(q, members[E]) && LEADS(E) && !open[E] && !IN(q, settled_by[E]) ->
        settled_by[E] = settled_by[E] | BIT(q);
        if
#ifdef MUTANT_SETTLE_WITHOUT_SELF
        :: applying[E] && q == leader[E] -> raise(q, settle_row[E]); equal[q] = E
        :: applying[E] && q != leader[E] -> row[q] = settle_row[E]; equal[q] = E
#else
        :: applying[E] -> row[q] = settle_row[E]; equal[q] = E
#endif
        :: else -> merge_copy(E, q)
        fi
    }
    /* repair: a member that lags is made equal in the background */
    :: d_step {
        E > 0 && IN(q, members[E]) && LEADS(E) && open[E] && E < EPOCHS &&
            (NEWER(row[leader[E]], row[q]) || EPOCH_OF(row[q]) < E) && LAGS(q) ->
        row[q] = row[leader[E]];
        equal[q] = E
    }
#ifdef MUTANT_SETTLE_UNSWITCHED
    :: d_step {
        E > 0 && E < EPOCHS && IN(q, members[E + 1]) && LEADS(E + 1) && !open[E + 1] &&
            !applying[E + 1] && !IN(q, settled_by[E + 1]) ->
        settled_by[E + 1] = settled_by[E + 1] | BIT(q);
        merge_copy(E + 1, q)
    }
#endif
#ifdef MUTANT_SETTLE_PULLS_ON
    :: d_step {
        E > 0 && IN(q, members[E]) && LEADS(E) && applying[E] && NEWER(row[q], row[leader[E]]) ->
        row[leader[E]] = row[q]
    }
#endif
    /* Check */
    :: d_step {
        E > 0 && read_epoch == E && IN(q, members[E]) && !IN(q, read_by) ->
        read_by = read_by | BIT(q)
    }
    /* Decided, of any newer epoch */
    :: d_step { E + 1 <= EPOCHS && members[E + 1] != 0 -> switch_to(q, E + 1) }
    :: d_step { E + 2 <= EPOCHS && members[E + 2] != 0 -> switch_to(q, E + 2) }
#ifdef OWNER
    /* owner change: the leader is suspected, or is itself and has restarted */
    :: d_step {
        E > 0 && E < EPOCHS && IN(q, members[E]) && members[E + 1] == 0 &&
            (leader[E] != q || restarted[E]) ->
        decide(E + 1, q, members[E])
    }
#endif
#ifdef FORGET
    :: d_step {
        E > 0 && forgetting[E] && IN(q, members[E]) && row[q] == DELETE -> row[q] = 0
    }
#endif
#ifdef MUTANT_EPOCH_FORGOTTEN
    /* a store that is no member any more drops everything, its memory of epochs too */
    :: d_step { E > 0 && !IN(q, members[E]) && learner[E] != q + 1 -> row[q] = 0; epoch[q] = 0 }
#endif
    /* crash and restart */
    :: d_step {
        crashes < CRASHES && CRASH_MATTERS ->
        crashes++;
#ifdef MUTANT_ACK_BEFORE_STORED
        pending[q] = 0;
#endif
        if
        :: E > 0 && leader[E] == q && !restarted[E] ->
#ifdef MUTANT_RESTARTED_LEADS
            keeps = open[E];
            volatile_lost(E);
            open[E] = keeps;
            keeps = 0
#else
            volatile_lost(E);
            restarted[E] = 1
#endif
        :: else
        fi
    }
    od
}

#define L leader[e]
#ifdef MUTANT_COMMIT_AFTER_ACCEPT
#define MAY_COMMIT(e) 1
#else
#define MAY_COMMIT(e) (proposed[e] == 0)
#endif
#ifdef MUTANT_CHANGE_UNSETTLED
#define SETTLED(e) 1
#else
#define SETTLED(e) open[e]
#endif
#ifdef MUTANT_CHANGE_IN_FLIGHT
#define DRAINED(e) 1
#else
#define DRAINED(e) (in_flight[e] == 0)
#endif
#ifdef MUTANT_LEARNER_INCOMPLETE
#define COMPLETE(q) 1
#elif defined(MUTANT_RETURNER_MERGED)
#define COMPLETE(q) (!NEWER(row[L], row[q]))
#else
#define COMPLETE(q) (row[q] == row[L])
#endif
#ifdef MUTANT_OWN_STORE_IGNORED
#define SELF_STORED(w) 1
#else
#define SELF_STORED(w) !NEWER(w, row[L])
#endif

#define MAY_PROPOSE                                                                         \
    (e < EPOCHS && LEADS(e) && SETTLED(e) && DRAINED(e) && proposed[e] == 0 &&              \
     members[e + 1] == 0)

/* The new leader: the old one if it stays, or (MOVE) any member. */
#ifdef MOVE
#define LEADER_FITS(who, whom) IN(who, whom)
#else
#define LEADER_FITS(who, whom) (IN(who, whom) && (who == L || !IN(L, whom)))
#endif
/* Who has in this epoch everything that the leader has. */
#ifdef MUTANT_LEARNER_INCOMPLETE
#define BELIEVED(q) (learner[e] == (q) + 1)
#elif defined(MUTANT_SETTLE_PULLS_ON)
#define BELIEVED(q) IN(q, synced)
#else
#define BELIEVED(q) false
#endif
#define HOLDS(q) ((BELIEVED(q) || (epoch[q] == e && !NEWER(row[L], row[q]))) << (q))
#ifdef MUTANT_NEXT_MAJORITY_LACKS
#define NEXT_HOLDS(whom) 1
#elif N > 3
#define NEXT_HOLDS(whom) MAJORITY(whom, HOLDS(0) + HOLDS(1) + HOLDS(2) + HOLDS(3))
#else
#define NEXT_HOLDS(whom) MAJORITY(whom, HOLDS(0) + HOLDS(1) + HOLDS(2))
#endif
#define PROPOSE(who, whom)                                                                  \
    :: LEADER_FITS(who, whom) && NEXT_HOLDS(whom) -> proposed[e] = (who) * 16 + (whom)
#if N > 3
#define PROPOSE_LED(whom)                                                                   \
    if PROPOSE(0, whom) PROPOSE(1, whom) PROPOSE(2, whom) PROPOSE(3, whom)              \
    :: !NEXT_HOLDS(whom) -> skip fi
#else
#define PROPOSE_LED(whom)                                                                   \
    if PROPOSE(0, whom) PROPOSE(1, whom) PROPOSE(2, whom) :: !NEXT_HOLDS(whom) -> skip fi
#endif

#ifdef MUTANT_LEARNER_WITHOUT_EPOCH
#define LEARNS(q) (epoch[q] <= e)
#else
#define LEARNS(q) (epoch[q] == e)
#endif
#ifdef MUTANT_RETURNER_MERGED
#define EQUALISE(q) raise(q, row[L])
#else
#define EQUALISE(q) row[q] = row[L]; equal[q] = e
#endif
/* A learner stores the leader's view first, then its rows are made equal. */
#define LEARN(q)                                                                            \
    :: d_step {                                                                             \
        e < EPOCHS && LEADS(e) && SETTLED(e) && learner[e] == 0 && members[e + 1] == 0 &&   \
            !IN(q, members[e]) && LEARNS(q) ->                                              \
        learner[e] = q + 1;                                                                 \
        EQUALISE(q)                                                                         \
    }
#define HOLDS_DELETE(q) (!IN(q, members[e]) || (epoch[q] == e && row[q] == DELETE))

/* Leader of epoch e. */
proctype Leader(byte e) {
    byte w;
end:
    do
    /* settle */
    :: d_step {
        LEADS(e) && !open[e] && !applying[e] && MAJORITY(members[e], settled_by[e]) &&
#if defined(HEARD) && !defined(MUTANT_SETTLE_BETTER_UNREAD)
            !unread[e] &&
#endif
#ifndef MUTANT_SETTLE_WITHOUT_SELF
            IN(L, settled_by[e]) &&
#endif
            true ->
        applying[e] = 1;
        settled_by[e] = 0
#ifdef HEARD
        ;
        heard[e] = 0;
        unread[e] = 0
#endif
    }
#ifdef HEARD
    /* settle: the best that spoke is lost, and what was passed over by its word is read again. What
     * was read of it, perhaps this very row, stays in our own copy. */
    :: d_step { LEADS(e) && !open[e] && !applying[e] && unread[e] -> settle_from_nothing(e) }
    :: d_step {
        LEADS(e) && !open[e] && !applying[e] && unread[e] && EPOCH_OF(row[L]) < heard[e] &&
            BEST(e) != L && row[BEST(e)] != row[L] ->
        row[L] = row[BEST(e)];
        settle_from_nothing(e)
    }
#endif
    :: d_step {
        LEADS(e) && !open[e] && applying[e] && MAJORITY(members[e], settled_by[e]) &&
            IN(L, settled_by[e]) ->
#ifdef MUTANT_SETTLE_PULLS_ON
        synced = settled_by[e];
#endif
        open[e] = 1;
        applying[e] = 0;
        settle_from_nothing(e)
    }
    /* write */
    :: d_step {
        LEADS(e) && open[e] && in_flight[e] == 0 && MAY_COMMIT(e) && writes < WRITES ->
        writes++;
        counter[e]++;
        w = 1;
        do
        :: w < writes -> assert(version[w] != e * 8 + counter[e]); w++
        :: else -> break
        od;
        version[writes] = e * 8 + counter[e];
        base[writes] = row[L];
        late[writes] = NEWER(known, writes);
        in_flight[e] = writes;
#ifdef MUTANT_SETTLE_PULLS_ON
        synced = 0;
#endif
        w = 0
    }
    :: d_step {
        LEADS(e) && in_flight[e] != 0 && MAY_COMMIT(e) && NEWER(in_flight[e], known) &&
            MAJORITY(members[e], acks[in_flight[e]]) ->
        w = in_flight[e];
        assert(!late[w]);
        assert(!NEWER(known, base[w])); /* nothing was shown between it and what it replaced */
        shown(w);
        w = 0
    }
    :: d_step {
        LEADS(e) && in_flight[e] != 0 && MAY_COMMIT(e) &&
            MAJORITY(members[e], acks[in_flight[e]]) && SELF_STORED(in_flight[e]) ->
        in_flight[e] = 0
    }
    /* read: note the local row, Check, answer */
    :: d_step {
        LEADS(e) && open[e] && in_flight[e] == 0 && read_epoch == 0 && row[L] != known &&
#ifndef MUTANT_READ_AFTER_ACCEPT
            proposed[e] == 0 &&
#endif
            true ->
        read_epoch = e;
        read_row = row[L];
        read_wrong = IS_OLDER(row[L], known);
        read_by = BIT(L)
    }
    :: d_step {
        read_epoch == e && LEADS(e) &&
#ifndef MUTANT_READ_WITHOUT_CHECK
            MAJORITY(members[e], read_by) &&
#endif
            true ->
        assert(!read_wrong);
        shown_by_read(read_row);
        read_epoch = 0;
        read_row = 0;
        read_by = 0
    }
#if defined(REPLACE) || defined(ADD)
    LEARN(0)
    LEARN(1)
    LEARN(2)
#if N > 3
    LEARN(3)
#endif
#endif
#ifdef ADD
    :: atomic {
        MAY_PROPOSE && learner[e] != 0 && COMPLETE(learner[e] - 1) ->
        w = members[e] | BIT(learner[e] - 1);
        PROPOSE_LED(w);
        w = 0
    }
#endif
#ifdef REPLACE
    :: atomic {
        MAY_PROPOSE && learner[e] != 0 && COMPLETE(learner[e] - 1) ->
        w = members[e] | BIT(learner[e] - 1);
        if
        :: IN(0, members[e]) -> w = w & ~BIT(0)
        :: IN(1, members[e]) -> w = w & ~BIT(1)
        :: IN(2, members[e]) -> w = w & ~BIT(2)
#if N > 3
        :: IN(3, members[e]) -> w = w & ~BIT(3)
#endif
        fi;
        PROPOSE_LED(w);
        w = 0
    }
#endif
#ifdef REMOVE
    :: atomic {
        MAY_PROPOSE && COUNT(members[e]) > 1 ->
        w = members[e];
        if
        :: IN(0, w) -> w = w & ~BIT(0)
        :: IN(1, w) -> w = w & ~BIT(1)
        :: IN(2, w) -> w = w & ~BIT(2)
#if N > 3
        :: IN(3, w) -> w = w & ~BIT(3)
#endif
#ifdef MUTANT_REMOVE_TWO
        :: COUNT(w) > 2 && IN(0, w) && IN(1, w) -> w = w & ~BIT(0) & ~BIT(1)
        :: COUNT(w) > 2 && IN(1, w) && IN(2, w) -> w = w & ~BIT(1) & ~BIT(2)
#endif
        fi;
        PROPOSE_LED(w);
        w = 0
    }
#endif
#ifdef QUIET
    :: d_step { MAY_PROPOSE -> proposed[e] = L * 16 + members[e] }
#endif
    :: d_step {
        e < EPOCHS && proposed[e] != 0 && members[e + 1] == 0 ->
        w = proposed[e];
        decide(e + 1, w / 16, w % 16);
        w = 0
    }
#ifdef FORGET
    :: d_step {
        LEADS(e) && open[e] && in_flight[e] == 0 && !forgetting[e] && row[L] == DELETE &&
#ifndef MUTANT_FORGET_SAME_EPOCH
            EPOCH_OF(DELETE) < e &&
#endif
#ifndef MUTANT_FORGET_EARLY
            HOLDS_DELETE(0) && HOLDS_DELETE(1) && HOLDS_DELETE(2) &&
#if N > 3
            HOLDS_DELETE(3) &&
#endif
#endif
            true ->
        shown(DELETE); /* from here on no row means deleted */
        forgetting[e] = 1
    }
#endif
    od
}

init {
    byte i = 0;
    atomic {
        members[1] = START;
        open[1] = 1;
        do
        :: i < N && IN(i, START) -> epoch[i] = 1; i++
        :: i < N && !IN(i, START) -> i++
        :: i == N -> break
        od;
#ifdef RETURNER
        /* the first write is long answered; stores outside of START held it when they left */
        writes = 1;
        version[1] = 9;
        counter[1] = 1;
        known = 1;
        i = 0;
        do
        :: i < N -> row[i] = 1; i++
        :: else -> break
        od;
#endif
        i = 0;
        do
        :: i < N -> run Store(i); i++
        :: else -> break
        od;
        i = 1;
        do
        :: i <= EPOCHS -> run Leader(i); i++
        :: else -> break
        od;
        i = 0
    }
}
