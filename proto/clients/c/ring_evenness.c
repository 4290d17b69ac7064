/* SPDX-License-Identifier: MIT */
/* See ring_evenness.h. */
#include "ring_evenness.h"

#include <string.h>

static const double WHOLE = 18446744073709551616.0; /* 2^64 */
static const double MOST_OF_MEAN = 2.2, MOST_OF_SMALLEST = 4;
static const double WORTH = 0.99; /* a move that changes less is none */

uint64_t evenness_point(const struct ring_id *id, unsigned m) {
    uint64_t point = 0;
    for (unsigned i = 0; i < 64; i++) {
        unsigned bit = m > i ? m - 1 - i : 0; /* of the id, from its lowest */
        uint64_t is_set = m > i ? (uint64_t)id->bytes[ID_BYTES - 1 - bit / 8] >> bit % 8 & 1 : 0;
        point = point << 1 | is_set;
    }
    return point;
}

struct member {
    uint64_t point;
    size_t index; /* the caller's */
    bool moved;
};

/* In the order of their points. */
struct places {
    size_t count;
    struct member members[EVENNESS_MEMBERS_MAX];
};

/* Of a ring of one it is 0, which stands for all of it. */
static uint64_t arc(const struct places *places, size_t at) {
    return places->members[at].point -
           places->members[(at + places->count - 1) % places->count].point;
}

static double part(const struct places *places, uint64_t length) {
    return places->count == 1 ? 1 : (double)length / WHOLE;
}

static void places_of(struct places *places, const uint64_t *points, size_t count) {
    places->count = count;
    for (size_t i = 0; i < count; i++) {
        places->members[i] = (struct member){points[i], i, false};
    }
}

static struct evenness measure(const struct places *places) {
    struct evenness evenness = {0, (double)places->count};
    for (size_t i = 0; i < places->count; i++) {
        double of_mean = part(places, arc(places, i)) * (double)places->count;
        evenness.largest = of_mean > evenness.largest ? of_mean : evenness.largest;
        evenness.smallest = of_mean < evenness.smallest ? of_mean : evenness.smallest;
    }
    return evenness;
}

struct evenness evenness_of(const uint64_t *points, size_t count) {
    struct places places;
    places_of(&places, points, count);
    return measure(&places);
}

bool evenness_is_good(struct evenness evenness) {
    return evenness.largest <= MOST_OF_MEAN &&
           evenness.largest <= MOST_OF_SMALLEST * evenness.smallest;
}

static size_t largest(const struct places *places) {
    size_t found = 0;
    for (size_t i = 1; i < places->count; i++) {
        found = arc(places, i) > arc(places, found) ? i : found;
    }
    return found;
}

/* The member at `at` leaves and halves the largest arc that there is then. false: that one has no
 * room for another id. */
static bool move(struct places *places, size_t at, unsigned m, struct evenness_move *done) {
    struct member member = places->members[at];
    done->member = member.index;
    places->count--;
    memmove(&places->members[at], &places->members[at + 1],
            (places->count - at) * sizeof places->members[0]);
    size_t to = largest(places);
    uint64_t unit = m < 64 ? UINT64_C(1) << (64 - m) : 1;
    uint64_t length = places->count == 1 ? UINT64_MAX : arc(places, to);
    uint64_t half = length / 2 / unit * unit;
    if (half == 0) {
        return false;
    }
    done->takes = places->members[to].index;
    uint64_t before = places->members[(to + places->count - 1) % places->count].point;
    member.point = before + half;
    member.moved = true;
    size_t new_at = 0;
    while (new_at < places->count && places->members[new_at].point < member.point) {
        new_at++;
    }
    memmove(&places->members[new_at + 1], &places->members[new_at],
            (places->count - new_at) * sizeof places->members[0]);
    places->members[new_at] = member;
    places->count++;
    return true;
}

/* Falls with each key that goes from one who leads many to one who leads few. */
static double unevenness(const struct places *places) {
    double sum = 0;
    for (size_t i = 0; i < places->count; i++) {
        double one = part(places, arc(places, i));
        sum += one * one;
    }
    return sum;
}

size_t evenness_plan(const uint64_t *points, size_t count, unsigned m,
                     struct evenness_move *moves) {
    struct places now, best, tried;
    struct evenness_move one;
    size_t moves_count = 0;
    if (count < 2 || count > EVENNESS_MEMBERS_MAX) {
        return 0;
    }
    places_of(&now, points, count);
    while (!evenness_is_good(measure(&now))) {
        double least = unevenness(&now) * WORTH;
        bool found = false;
        for (size_t i = 0; i < count; i++) {
            tried = now;
            if (!now.members[i].moved && move(&tried, i, m, &one) && unevenness(&tried) < least) {
                best = tried;
                least = unevenness(&tried);
                moves[moves_count] = one;
                found = true;
            }
        }
        if (!found) {
            break;
        }
        now = best;
        moves[moves_count++].after = measure(&now);
    }
    return moves_count;
}
