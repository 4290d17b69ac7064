/* SPDX-License-Identifier: MIT */
/*
 * Model: retried operations (node/chord/README.md, "data protocol"). One client puts X on a key and
 * tries again when it hears nothing; another client does Y, compare-and-set operations on the same
 * key. Three stores; the leader of epoch e is store e - 1, so each epoch is an owner change. That
 * views are agreed and reads fresh is asked in the other models.
 *
 * Question asked: does X take effect at most once, and is what its client is told true. An execution
 * counts as effective from the moment that any answer has shown it. Then no effective version may lie
 * between a Y and the version that Y was compared with, and no Y between two versions of X (the same
 * X may change its version while no other write was between: so an ETag is the operation's id).
 */
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef RUNS
#define RUNS 3 /* executions of X and Y in all */
#endif
#define SENDS 3
#define STORES 3

#define BIT(q)      (1 << (q))
#define IN(q, mask) (((mask) >> (q)) & 1)
#define MAJORITY(m) ((m) == 3 || (m) >= 5)
#define VERSION(e, counter) ((e) * 4 + (counter))
#define EPOCH_OF(v) ((v) / 4)

/* An execution is named by its version; 0 is none. */
byte x_runs[RUNS + 1]; /* versions at which X was executed, ... */
byte y_runs[RUNS + 1]; /* ... and Y, with ... */
byte y_base[RUNS + 1]; /* ... what it replaced */
byte x_count;
byte y_count;
bit effective[VERSION(EPOCHS, 4)];
byte known;

/* Durable, per store: the row, the entry of X in ops, the floor. */
byte epoch[STORES];
byte row[STORES];
byte entry[STORES];
byte floor[STORES];

byte decided = 1; /* the last epoch decided */

/* Per epoch: what its leader knows. */
bit open[EPOCHS + 1];
bit applying[EPOCHS + 1];
byte asked[EPOCHS + 1];
byte got_row[EPOCHS + 1];
byte got_entry[EPOCHS + 1];
byte got_floor[EPOCHS + 1];
byte counter[EPOCHS + 1];
byte in_flight[EPOCHS + 1];
bit is_x[EPOCHS + 1];
byte acks[EPOCHS + 1];
byte query[EPOCHS + 1]; /* the send that an OpQuery is about */

/* The client of X: its sends; each may arrive once, at any time. */
byte sends;
byte seen[SENDS + 1];
bit first[SENDS + 1]; /* attempt 1 */
bit arrived[SENDS + 1];
bit told;

inline greater(to, from) {
    if
    :: from > to -> to = from
    :: else
    fi
}

#define V_IS_X(v) (x_runs[1] == (v) || (x_count > 1 && x_runs[2] == (v)) || (x_count > 2 && x_runs[3] == (v)))

/* v was shown to somebody: check the history. */
inline shown(v) {
    assert(v >= known || v == 0 || shown_late);
    greater(known, v);
    effective[v] = (v != 0);
    i = 1;
    do
    :: i <= y_count ->
        j = 1;
        do
        :: j <= x_count ->
            assert(!(effective[y_runs[i]] && effective[x_runs[j]] && x_runs[j] > y_base[i] &&
                     x_runs[j] < y_runs[i]));
            k = 1;
            do
            :: k <= x_count ->
                assert(!(effective[y_runs[i]] && effective[x_runs[j]] && effective[x_runs[k]] &&
                         x_runs[j] < y_runs[i] && y_runs[i] < x_runs[k]));
                k++
            :: else -> break
            od;
            j++
        :: j > x_count -> break
        od;
        i++
    :: else -> break
    od;
#ifdef MUTANT_ETAG_IS_VERSION
    j = 1;
    do
    :: j <= x_count -> assert(!(effective[x_runs[j]] && effective[v] && x_runs[j] != v && V_IS_X(v))); j++
    :: else -> break
    od;
#endif
    i = 0;
    j = 0;
    k = 0;
    shown_late = 0
}

/* X's client hears of success at version v: X took effect, now or before. */
inline succeed(v) {
    told = 1;
    shown_late = 1;
    shown(v)
}

#define LEADS(e) (epoch[(e)-1] == (e))
#define LOST(e)                                                                             \
    if                                                                                      \
    :: q == e - 1 ->                                                                        \
        asked[e] = 0;                                                                       \
        applying[e] = 0;                                                                    \
        got_row[e] = 0;                                                                     \
        got_entry[e] = 0;                                                                   \
        got_floor[e] = 0;                                                                   \
        query[e] = 0;                                                                       \
        open[e] = 0                                                                         \
    :: else                                                                                 \
    fi

#define E epoch[q]
proctype Store(byte q) {
end:
    do
    /* Apply: the row and the entry in one transaction */
    :: d_step {
        in_flight[E] != 0 && !IN(q, acks[E]) ->
        greater(row[q], in_flight[E]);
        if
        :: is_x[E] -> greater(entry[q], in_flight[E])
        :: else
        fi;
        acks[E] = acks[E] | BIT(q)
    }
    /* settle: rows, entries and floor */
    :: d_step {
        LEADS(E) && !open[E] && !IN(q, asked[E]) ->
        asked[E] = asked[E] | BIT(q);
        if
        :: applying[E] ->
            greater(row[q], got_row[E]);
#ifndef MUTANT_ROWS_ONLY
            greater(entry[q], got_entry[E]);
            greater(floor[q], got_floor[E]);
#endif
            skip
        :: else ->
            greater(got_row[E], row[q]);
#ifndef MUTANT_ROWS_ONLY
            greater(got_entry[E], entry[q]);
            greater(got_floor[E], floor[q])
#endif
            skip
        fi
    }
    /* OpQuery */
    :: d_step {
        LEADS(E) && query[E] != 0 && !IN(q, asked[E]) ->
        asked[E] = asked[E] | BIT(q);
        greater(got_entry[E], entry[q]);
        greater(got_floor[E], floor[q])
    }
#ifdef MUTANT_QUERY_UNSWITCHED
    :: d_step {
        E < EPOCHS && LEADS(E + 1) && query[E + 1] != 0 && !IN(q, asked[E + 1]) ->
        asked[E + 1] = asked[E + 1] | BIT(q);
        greater(got_entry[E + 1], entry[q]);
        greater(got_floor[E + 1], floor[q])
    }
#endif
    /* the entry is pruned when a newer one has come */
    :: d_step {
        entry[q] != 0 && row[q] > entry[q] ->
        greater(floor[q], entry[q]);
        entry[q] = 0
    }
    :: d_step {
        E < EPOCHS && E + 1 <= decided ->
        LOST(E);
        E = E + 1
    }
    :: d_step { decided < EPOCHS && q == decided && E == decided -> decided++ }
    od
}

#define L (e - 1)
#define READY (LEADS(e) && open[e] && in_flight[e] == 0 && query[e] == 0)

inline execute_x() {
    counter[e]++;
    x_count++;
    x_runs[x_count] = VERSION(e, counter[e]);
    in_flight[e] = x_runs[x_count];
    is_x[e] = 1
}

inline query_over() {
    query[e] = 0;
    asked[e] = 0;
    got_entry[e] = 0;
    got_floor[e] = 0
}

/* What an entry of X at version v, found here or by OpQuery, proves once the key is settled: the
 * row is X; or X was overtaken in its own epoch, so it was acknowledged first (one write in flight). */
#ifdef MUTANT_RECORDED_RESULT
#define TOOK_EFFECT(v) 1
#else
#define TOOK_EFFECT(v) (row[L] == (v) || (row[L] > (v) && EPOCH_OF(row[L]) == EPOCH_OF(v)))
#endif

#define ROW_IS_X (row[L] != 0 && V_IS_X(row[L]))
#ifdef MUTANT_BELOW_FLOOR
#define ABOVE_FLOOR 1
#define QUERY_ABOVE_FLOOR 1
#else
#define ABOVE_FLOOR (seen[s] >= floor[L])
#define QUERY_ABOVE_FLOOR (seen[s] >= got_floor[e])
#endif
#ifdef MUTANT_STALE_LEADER_EXECUTES
#define SEES_NEWER 0
#else
#define SEES_NEWER 1
#endif
#ifdef MUTANT_RETRY_AFTER_ATTEMPT_2
#define RETRY_COUNTS 1
#else
#define RETRY_COUNTS (s == sends)
#endif

proctype Leader(byte e) {
    byte s;
    byte v;
    byte i;
    byte j;
    byte k;
    bit shown_late;
end:
    do
    :: d_step {
        LEADS(e) && !open[e] && !applying[e] && MAJORITY(asked[e]) && IN(L, asked[e]) ->
        applying[e] = 1;
        asked[e] = 0
    }
    :: d_step {
        LEADS(e) && !open[e] && applying[e] && MAJORITY(asked[e]) && IN(L, asked[e]) ->
        open[e] = 1;
        applying[e] = 0;
        asked[e] = 0;
        got_row[e] = 0;
        got_entry[e] = 0;
        got_floor[e] = 0
    }
    /* a write is stored by a majority, self included: its client hears */
    :: d_step {
        LEADS(e) && in_flight[e] != 0 && MAJORITY(acks[e]) && IN(L, acks[e]) ->
        v = in_flight[e];
        in_flight[e] = 0;
        acks[e] = 0;
        is_x[e] = 0;
        shown_late = 1; /* its stores may have switched and shown it before */
        shown(v);
        v = 0
    }
    /* a read; its Check in one step */
    :: d_step {
        READY && !effective[row[L]] && row[L] != 0 &&
            MAJORITY((epoch[0] == e) + 2 * (epoch[1] == e) + 4 * (epoch[2] == e)) ->
        v = row[L];
        shown(v);
        v = 0
    }
    /* Y: compare with the settled row */
    :: d_step {
        READY && x_count + y_count < RUNS && y_count < 2 ->
        counter[e]++;
        y_count++;
        y_runs[y_count] = VERSION(e, counter[e]);
        y_base[y_count] = row[L];
        in_flight[e] = y_runs[y_count]
    }
    /* X arrives */
#define ON_X(n)                                                                             \
    :: d_step {                                                                             \
        READY && sends >= n && !arrived[n] && !told ->                                      \
        arrived[n] = 1;                                                                     \
        s = n;                                                                              \
        X_RULE;                                                                             \
        s = 0                                                                               \
    }
#define X_RULE                                                                              \
    if                                                                                      \
    :: entry[L] != 0 || ROW_IS_X ->                                                         \
        v = (entry[L] != 0 -> entry[L] : row[L]);                                           \
        if                                                                                  \
        :: TOOK_EFFECT(v) -> succeed(v)                                                     \
        :: else -> told = 1 /* unknown */                                                   \
        fi;                                                                                 \
        v = 0                                                                               \
    :: else ->                                                                              \
        if                                                                                  \
        :: EPOCH_OF(seen[s]) > e && SEES_NEWER -> skip /* this leader is stale */           \
        :: EPOCH_OF(seen[s]) == e && ABOVE_FLOOR ->                                         \
            if                                                                              \
            :: x_count + y_count < RUNS -> execute_x()                                      \
            :: else                                                                         \
            fi                                                                              \
        :: first[s] && !(EPOCH_OF(seen[s]) == e && ABOVE_FLOOR) &&                          \
                !(EPOCH_OF(seen[s]) > e && SEES_NEWER) ->                                   \
            if /* RETRY: the client sends attempt 1 again with what it has heard */         \
            :: RETRY_COUNTS && sends < SENDS ->                                             \
                sends++;                                                                    \
                first[sends] = 1;                                                           \
                seen[sends] = VERSION(e, counter[e])                                        \
            :: else                                                                         \
            fi                                                                              \
        :: !first[s] && EPOCH_OF(seen[s]) < e -> query[e] = s                               \
        :: !first[s] && EPOCH_OF(seen[s]) == e && !ABOVE_FLOOR -> told = 1 /* unknown */    \
        :: !first[s] && EPOCH_OF(seen[s]) > e && !SEES_NEWER ->                             \
            if                                                                              \
            :: x_count + y_count < RUNS -> execute_x()                                      \
            :: else                                                                         \
            fi                                                                              \
        fi                                                                                  \
    fi
    ON_X(1)
    ON_X(2)
    ON_X(3)
    /* OpQuery is answered by a majority */
    :: d_step {
        LEADS(e) && query[e] != 0 && MAJORITY(asked[e]) && IN(L, asked[e]) ->
        s = query[e];
        if
        :: told || x_count + y_count == RUNS -> skip
        :: !told && x_count + y_count < RUNS && got_entry[e] != 0 && TOOK_EFFECT(got_entry[e]) ->
            v = got_entry[e];
            succeed(v);
            v = 0
        :: !told && x_count + y_count < RUNS && got_entry[e] != 0 && !TOOK_EFFECT(got_entry[e]) -> told = 1
        :: !told && x_count + y_count < RUNS && got_entry[e] == 0 && QUERY_ABOVE_FLOOR -> execute_x()
        :: !told && x_count + y_count < RUNS && got_entry[e] == 0 && !QUERY_ABOVE_FLOOR -> told = 1
        fi;
        s = 0;
        query_over()
    }
    od
}

/* The client hears nothing and tries again: the next attempt, with what it had seen at first. */
proctype Client() {
end:
    do
    :: d_step {
        sends > 0 && sends < SENDS && !told ->
        sends++;
        seen[sends] = seen[sends - 1]
    }
#ifdef MUTANT_ATTEMPT_1_DUPLICATED
    :: d_step { arrived[1] -> arrived[1] = 0 }
#endif
    od
}

init {
    atomic {
        epoch[0] = 1;
        epoch[1] = 1;
        epoch[2] = 1;
        open[1] = 1;
        sends = 1;
        first[1] = 1;
        seen[1] = VERSION(1, 0);
        run Store(0);
        run Store(1);
        run Store(2);
        run Leader(1);
        run Leader(2);
#if EPOCHS > 2
        run Leader(3);
#endif
#if EPOCHS > 3
        run Leader(4);
#endif
        run Client()
    }
}
