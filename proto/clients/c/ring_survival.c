/* SPDX-License-Identifier: MIT */
/* See ring_survival.h. */
#include "ring_survival.h"

#include "ring_check.h"

#include <stdlib.h>
#include <string.h>

/* One view, however many nodes tell of it. */
struct piece {
    const Chord__V1__View *view;
    bool led; /* its leader is alive and has told */
    uint32_t copies;
    uint64_t keys;
    double share; /* of the view's ids: for how many it is the newest */
    unsigned alive;
};

struct picture {
    struct survival_host *hosts; /* by id */
    size_t hosts_count;
    const struct survival_node *nodes; /* by address */
    size_t nodes_count;
    unsigned m;
    struct piece *pieces; /* the newest epoch first */
    size_t pieces_count;
    ProtobufCBinaryData *bounds; /* sorted, each once; segment i = (bounds[i], bounds[i + 1]] */
    size_t bounds_count;
    const struct piece **newest; /* of each segment; NULL: nobody tells of it */
    bool *led;                   /* of each segment */
};

/* ---- ids ---- */

/* All ids of one ring have the same size. */
static int id_order(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b) {
    if (a->len != b->len) {
        return a->len < b->len ? -1 : 1;
    }
    return a->len == 0 ? 0 : memcmp(a->data, b->data, a->len);
}

static int compare_ids(const void *a, const void *b) {
    return id_order(a, b);
}

/* As a share of the ring: 0 to 1. */
static double id_place(const ProtobufCBinaryData *id, unsigned m) {
    double place = 0;
    for (size_t i = 0; i < id->len; i++) {
        place = place * 256 + id->data[i];
    }
    for (unsigned i = 0; i < m; i++) {
        place /= 2;
    }
    return place;
}

static double width(const ProtobufCBinaryData *lo, const ProtobufCBinaryData *hi, unsigned m) {
    double ids = id_place(hi, m) - id_place(lo, m);
    return ids > 0 ? ids : ids + 1;
}

/* ---- nodes ---- */

static int compare_nodes(const void *a, const void *b) {
    return strcmp(((const struct survival_node *)a)->address,
                  ((const struct survival_node *)b)->address);
}

static const struct survival_node *node_find(const struct picture *picture, const char *address) {
    struct survival_node wanted = {.address = address};
    return picture->nodes_count == 0 ? NULL
                                     : bsearch(&wanted, picture->nodes, picture->nodes_count,
                                               sizeof wanted, compare_nodes);
}

static bool is_alive(const struct picture *picture, const char *address) {
    const struct survival_node *node = node_find(picture, address);
    return node != NULL && node->alive;
}

/* ---- hosts ---- */

static int compare_host_ids(const void *a, const void *b) {
    uint64_t x = ((const struct survival_host *)a)->id, y = ((const struct survival_host *)b)->id;
    return (x > y) - (x < y);
}

static int compare_host_names(const void *a, const void *b) {
    const struct survival_host *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : compare_host_ids(a, b);
}

static struct survival_host *host_find(const struct picture *picture, const char *address) {
    const struct survival_node *node = node_find(picture, address);
    struct survival_host wanted = {.id = 0};
    if (node == NULL || !node->alive || node->status == NULL || node->status->self == NULL ||
        picture->hosts_count == 0) {
        return NULL;
    }
    wanted.id = node->status->self->host_id;
    return bsearch(&wanted, picture->hosts, picture->hosts_count, sizeof wanted, compare_host_ids);
}

static bool hosts_collect(struct picture *picture) {
    size_t kept = 0;
    picture->hosts = calloc(picture->nodes_count + 1, sizeof picture->hosts[0]);
    for (size_t i = 0; picture->hosts != NULL && i < picture->nodes_count; i++) {
        const struct survival_node *node = &picture->nodes[i];
        if (node->alive && ring_is_member(node->status)) {
            picture->hosts[kept++] = (struct survival_host){
                .id = node->status->self->host_id, .name = node->status->host_name, .members = 1};
        }
    }
    if (kept > 0) {
        qsort(picture->hosts, kept, sizeof picture->hosts[0], compare_host_ids);
    }
    for (size_t i = 0; i < kept; i++) {
        struct survival_host *last =
            picture->hosts_count > 0 ? &picture->hosts[picture->hosts_count - 1] : NULL;
        if (last != NULL && last->id == picture->hosts[i].id) {
            last->members++;
        } else {
            picture->hosts[picture->hosts_count++] = picture->hosts[i];
        }
    }
    return picture->hosts != NULL;
}

/* ---- the views that are told of ---- */

static bool same_ring(const Chord__V1__StatusResponse *a, const Chord__V1__StatusResponse *b) {
    return ring_bytes_equal(a->parameters->ring_id, b->parameters->ring_id);
}

static bool tells(const struct survival_node *node) {
    return node->status != NULL && node->status->parameters != NULL &&
           node->status->state != CHORD__V1__NODE_STATE__NODE_STATE_LEFT;
}

static bool view_whole(const Chord__V1__View *view) {
    bool whole = view != NULL && view->range != NULL && view->n_members > 0 &&
                 view->range->lo.len == view->range->hi.len && view->range->hi.len > 0;
    for (size_t i = 0; whole && i < view->n_members; i++) {
        whole = view->members[i]->address != NULL;
    }
    return whole;
}

static int compare_pieces(const void *a, const void *b) {
    const struct piece *x = a, *y = b;
    if (x->view->epoch != y->view->epoch) {
        return x->view->epoch > y->view->epoch ? -1 : 1;
    }
    int order = id_order(&x->view->range->hi, &y->view->range->hi);
    order = order != 0 ? order : id_order(&x->view->range->lo, &y->view->range->lo);
    return order != 0 ? order : (int)y->led - (int)x->led; /* its leader knows best */
}

static void piece_add(struct picture *picture, const struct survival_node *node,
                      const Chord__V1__RangeStatus *range) {
    picture->pieces[picture->pieces_count++] = (struct piece){
        .view = range->view,
        .led = node->alive && ring_leads(node->address, range),
        .copies = range->copies,
        .keys = range->keys,
    };
}

/* One piece for each view. Its leader tells the copies, and the keys; without it the member with
 * most keys tells these. */
static void pieces_unite(struct picture *picture) {
    size_t kept = 0;
    qsort(picture->pieces, picture->pieces_count, sizeof picture->pieces[0], compare_pieces);
    for (size_t i = 0; i < picture->pieces_count; i++) {
        struct piece *piece = &picture->pieces[i];
        struct piece *last = kept > 0 ? &picture->pieces[kept - 1] : NULL;
        if (last != NULL && last->view->epoch == piece->view->epoch &&
            id_order(&last->view->range->hi, &piece->view->range->hi) == 0 &&
            id_order(&last->view->range->lo, &piece->view->range->lo) == 0) {
            last->keys = !last->led && piece->keys > last->keys ? piece->keys : last->keys;
        } else {
            picture->pieces[kept++] = *piece;
        }
    }
    picture->pieces_count = kept;
}

static bool pieces_collect(struct picture *picture) {
    const struct survival_node *first = NULL;
    size_t room = 1;
    for (size_t i = 0; i < picture->nodes_count; i++) {
        const struct survival_node *node = &picture->nodes[i];
        if (tells(node)) {
            room += node->status->n_ranges;
            first = first == NULL || (node->alive && !first->alive) ? node : first;
        }
    }
    picture->pieces = calloc(room, sizeof picture->pieces[0]);
    if (picture->pieces == NULL) {
        return false;
    }
    size_t id_size = 0;
    for (size_t i = 0; i < picture->nodes_count; i++) {
        const struct survival_node *node = &picture->nodes[i];
        /* What a dead node last said of a former ring says nothing of this one. */
        bool counts = tells(node) && same_ring(node->status, first->status);
        for (size_t k = 0; counts && k < node->status->n_ranges; k++) {
            const Chord__V1__View *view = node->status->ranges[k]->view;
            if (view_whole(view) && (id_size == 0 || view->range->hi.len == id_size)) {
                id_size = view->range->hi.len;
                piece_add(picture, node, node->status->ranges[k]);
            }
        }
    }
    pieces_unite(picture);
    return true;
}

/* ---- the newest view of each id ---- */

static size_t bound_index(const struct picture *picture, const ProtobufCBinaryData *id) {
    const ProtobufCBinaryData *at =
        bsearch(id, picture->bounds, picture->bounds_count, sizeof picture->bounds[0], compare_ids);
    return (size_t)(at - picture->bounds);
}

static const ProtobufCBinaryData *segment_end(const struct picture *picture, size_t segment) {
    return &picture->bounds[(segment + 1) % picture->bounds_count];
}

static bool segments_make(struct picture *picture) {
    size_t count = 0;
    picture->bounds = calloc(2 * picture->pieces_count + 1, sizeof picture->bounds[0]);
    picture->newest = calloc(2 * picture->pieces_count + 1, sizeof picture->newest[0]);
    picture->led = calloc(2 * picture->pieces_count + 1, sizeof picture->led[0]);
    if (picture->bounds == NULL || picture->newest == NULL || picture->led == NULL) {
        return false;
    }
    for (size_t i = 0; i < picture->pieces_count; i++) {
        picture->bounds[count++] = picture->pieces[i].view->range->lo;
        picture->bounds[count++] = picture->pieces[i].view->range->hi;
    }
    qsort(picture->bounds, count, sizeof picture->bounds[0], compare_ids);
    for (size_t i = 0; i < count; i++) {
        size_t kept = picture->bounds_count;
        if (kept == 0 || id_order(&picture->bounds[kept - 1], &picture->bounds[i]) != 0) {
            picture->bounds[picture->bounds_count++] = picture->bounds[i];
        }
    }
    for (size_t i = 0; i < picture->pieces_count; i++) {
        struct piece *piece = &picture->pieces[i];
        const Chord__V1__Range *range = piece->view->range;
        size_t at = bound_index(picture, &range->lo), end = bound_index(picture, &range->hi);
        double mine = 0;
        do { /* from lo to hi; where they are one, once round */
            picture->led[at] = picture->led[at] || piece->led;
            if (picture->newest[at] == NULL) {
                picture->newest[at] = piece;
                mine += width(&picture->bounds[at], segment_end(picture, at), picture->m);
            }
            at = (at + 1) % picture->bounds_count;
        } while (at != end);
        piece->share = mine / width(&range->lo, &range->hi, picture->m);
    }
    return true;
}

/* ---- the verdict ---- */

static unsigned majority(const struct piece *piece) {
    return (unsigned)(piece->view->n_members / 2 + 1);
}

static bool has_lost(const struct piece *piece) {
    return piece->share > 0 && piece->alive < majority(piece);
}

static int compare_counts(const void *a, const void *b) {
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x < y) - (x > y);
}

/* So many whole hosts the piece bears to lose, those that hold most of its copies first. Each host
 * that it cannot do without takes its share of the ids. */
static uint32_t hosts_borne(const struct picture *picture, const struct piece *piece,
                            unsigned whole) {
    enum { MEMBERS_MAX = 64 };
    struct survival_host *hosts[MEMBERS_MAX];
    unsigned copies[MEMBERS_MAX] = {0};
    uint32_t borne = 0;
    size_t count = 0;
    for (size_t k = 0; k < piece->view->n_members; k++) {
        struct survival_host *host = host_find(picture, piece->view->members[k]->address);
        size_t at = 0;
        while (at < count && hosts[at] != host) {
            at++;
        }
        if (host != NULL && at < MEMBERS_MAX) {
            hosts[at] = host;
            copies[at]++;
            count += at == count;
        }
    }
    for (size_t at = 0; at < count; at++) {
        if (whole < majority(piece) + copies[at]) {
            hosts[at]->ids_at_risk +=
                piece->share * width(&piece->view->range->lo, &piece->view->range->hi, picture->m);
        }
    }
    qsort(copies, count, sizeof copies[0], compare_counts);
    while (borne < count && whole >= majority(piece) + copies[borne]) {
        whole -= copies[borne++];
    }
    return borne;
}

static void pieces_judge(struct picture *picture, struct survival *survival) {
    uint32_t least = UINT32_MAX, hosts_least = UINT32_MAX;
    for (size_t i = 0; i < picture->pieces_count; i++) {
        struct piece *piece = &picture->pieces[i];
        if (piece->share <= 0) {
            continue;
        }
        for (size_t k = 0; k < piece->view->n_members; k++) {
            piece->alive += is_alive(picture, piece->view->members[k]->address);
        }
        unsigned whole = piece->led && piece->copies < piece->alive ? piece->copies : piece->alive;
        uint32_t spare = whole > majority(piece) ? whole - majority(piece) : 0;
        least = spare < least ? spare : least;
        uint32_t hosts = hosts_borne(picture, piece, whole);
        hosts_least = hosts < hosts_least ? hosts : hosts_least;
        uint64_t keys = (uint64_t)((double)piece->keys * piece->share + 0.5);
        survival->keys += keys;
        survival->keys_lost += has_lost(piece) ? keys : 0;
    }
    survival->failures = least == UINT32_MAX ? 0 : least;
    survival->host_failures = hosts_least == UINT32_MAX ? 0 : hosts_least;
}

static void gap_find(const struct picture *picture, struct survival *survival) {
    size_t count = picture->bounds_count, at = 0;
    while (at < count && picture->led[at]) {
        at++;
    }
    survival->all_led = count > 0 && at == count;
    if (at < count) {
        survival->gap_lo = picture->bounds[at];
        while (at + 1 < count && !picture->led[at + 1]) {
            at++;
        }
        survival->gap_hi = *segment_end(picture, at);
    }
}

/* Segments in a row that are of one view are one range. */
static bool lost_collect(const struct picture *picture, struct survival *survival) {
    survival->lost = calloc(picture->bounds_count + 1, sizeof survival->lost[0]);
    if (survival->lost == NULL) {
        return false;
    }
    const struct piece *before = NULL;
    for (size_t i = 0; i < picture->bounds_count; i++) {
        const struct piece *piece = picture->newest[i];
        const ProtobufCBinaryData *lo = &picture->bounds[i], *hi = segment_end(picture, i);
        if (piece != NULL && !has_lost(piece)) {
            before = piece;
            continue;
        }
        double ids = width(lo, hi, picture->m);
        survival->ids_lost += ids;
        bool same = survival->lost_count > 0 && piece == before && i > 0;
        before = piece;
        if (!same) {
            survival->lost[survival->lost_count++] = (struct survival_range){.lo = *lo};
        }
        struct survival_range *range = &survival->lost[survival->lost_count - 1];
        range->hi = *hi;
        if (piece == NULL) {
            survival->failures = survival->host_failures = 0; /* nobody has it */
            continue;
        }
        range->members = (unsigned)piece->view->n_members;
        range->alive = piece->alive;
        range->keys +=
            (uint64_t)((double)piece->keys * ids /
                           width(&piece->view->range->lo, &piece->view->range->hi, picture->m) +
                       0.5);
    }
    return true;
}

/* ---- whom to start ---- */

static bool is_member(const struct piece *piece, const char *address) {
    for (size_t i = 0; i < piece->view->n_members; i++) {
        if (strcmp(piece->view->members[i]->address, address) == 0) {
            return true;
        }
    }
    return false;
}

static bool start_has(const struct survival *survival, const char *address) {
    for (size_t i = 0; i < survival->start_count; i++) {
        if (strcmp(survival->start[i], address) == 0) {
            return true;
        }
    }
    return false;
}

static void start_add(struct survival *survival, const char *address) {
    if (survival->start_count < SURVIVAL_START_MAX && strlen(address) < SURVIVAL_ADDRESS_BYTES &&
        !start_has(survival, address)) {
        strcpy(survival->start[survival->start_count++], address);
    }
}

/* How many members the range still needs, with those that are to be started. */
static unsigned needs(const struct picture *picture, const struct survival *survival,
                      const struct piece *piece) {
    unsigned alive = 0;
    if (!has_lost(piece)) {
        return 0;
    }
    for (size_t i = 0; i < piece->view->n_members; i++) {
        const char *address = piece->view->members[i]->address;
        alive += is_alive(picture, address) || start_has(survival, address);
    }
    return alive < majority(piece) ? majority(piece) - alive : 0;
}

/* Of how many ids this node's return brings nearer what they need; *all: of all, and it suffices.
 */
static double helps(const struct picture *picture, const struct survival *survival,
                    const char *address, bool *all) {
    double ids = 0;
    *all = true;
    for (size_t i = 0; i < picture->pieces_count; i++) {
        const struct piece *piece = &picture->pieces[i];
        unsigned needed = needs(picture, survival, piece);
        bool member = needed > 0 && is_member(piece, address);
        ids += member ? piece->share *
                            width(&piece->view->range->lo, &piece->view->range->hi, picture->m)
                      : 0;
        *all = *all && (needed == 0 || (member && needed == 1));
    }
    return ids;
}

/* The dead members of lost ranges, each once. */
static size_t candidates(const struct picture *picture, const char **addresses, size_t max) {
    size_t count = 0;
    for (size_t i = 0; i < picture->pieces_count; i++) {
        const struct piece *piece = &picture->pieces[i];
        for (size_t k = 0; has_lost(piece) && k < piece->view->n_members && count < max; k++) {
            const char *address = piece->view->members[k]->address;
            bool known = is_alive(picture, address);
            for (size_t j = 0; j < count && !known; j++) {
                known = strcmp(addresses[j], address) == 0;
            }
            if (!known) {
                addresses[count++] = address;
            }
        }
    }
    return count;
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void start_choose(const struct picture *picture, struct survival *survival) {
    enum { CANDIDATES_MAX = 64 };
    const char *addresses[CANDIDATES_MAX];
    size_t count = candidates(picture, addresses, CANDIDATES_MAX);
    bool suffices[CANDIDATES_MAX] = {false}, any = false;
    qsort(addresses, count, sizeof addresses[0], compare_texts);
    for (size_t i = 0; i < count; i++) {
        (void)helps(picture, survival, addresses[i], &suffices[i]);
        any = any || suffices[i];
    }
    for (size_t i = 0; i < count && any; i++) {
        if (suffices[i]) {
            start_add(survival, addresses[i]);
        }
    }
    survival->start_any = any;
    /* Else the one that helps most, then the next. */
    for (bool more = !any; more && survival->start_count < SURVIVAL_START_MAX;) {
        const char *best = NULL;
        double most = 0;
        for (size_t i = 0; i < count; i++) {
            bool all;
            double ids = start_has(survival, addresses[i])
                             ? 0
                             : helps(picture, survival, addresses[i], &all);
            best = ids > most ? addresses[i] : best;
            most = ids > most ? ids : most;
        }
        more = best != NULL;
        if (more) {
            start_add(survival, best);
        }
    }
}

bool survival_make(const struct survival_node *nodes, size_t count, unsigned m,
                   struct survival *survival) {
    struct picture picture = {.nodes_count = count, .m = m};
    memset(survival, 0, sizeof *survival);
    struct survival_node *sorted = calloc(count + 1, sizeof *sorted);
    bool ok = sorted != NULL;
    if (ok) {
        memcpy(sorted, nodes, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, compare_nodes);
        picture.nodes = sorted;
        ok = hosts_collect(&picture) && pieces_collect(&picture) && segments_make(&picture);
    }
    if (ok) {
        pieces_judge(&picture, survival);
        gap_find(&picture, survival);
        ok = lost_collect(&picture, survival);
        start_choose(&picture, survival);
    }
    if (ok) {
        survival->hosts = picture.hosts;
        survival->hosts_count = picture.hosts_count;
        qsort(survival->hosts, survival->hosts_count, sizeof survival->hosts[0],
              compare_host_names);
    } else {
        free(picture.hosts);
    }
    free(picture.pieces);
    free(picture.bounds);
    free(picture.newest);
    free(picture.led);
    free(sorted);
    if (!ok) {
        survival_free(survival);
    }
    return ok;
}

void survival_free(struct survival *survival) {
    free(survival->lost);
    free(survival->hosts);
    memset(survival, 0, sizeof *survival);
}
