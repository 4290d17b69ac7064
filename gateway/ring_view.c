/* SPDX-License-Identifier: MIT */
/* Asking the nodes: the thread and the table of the ring view; see ring_view.h. */
#include "ring_view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "db.h"
#include "events.h"
#include "client.h"
#include "log.h"
#include "ring_internal.h"
#include "ring_walk.h"

/* ---- the table ---- */

static size_t node_index(const struct ring_view *view, const char *address) {
    size_t low = 0;
    size_t high = view->nodes_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(view->nodes[middle]->address, address) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct view_node *view_node_find(struct ring_view *view, const char *address) {
    size_t index = node_index(view, address);
    bool found = index < view->nodes_count && strcmp(view->nodes[index]->address, address) == 0;
    return found ? view->nodes[index] : NULL;
}

struct view_node *view_node_add(struct ring_view *view, const char *address, uint64_t now) {
    struct view_node *node = view_node_find(view, address);
    if (node != NULL || !address_is_valid(address) || view->nodes_count >= VIEW_NODES_MAX) {
        return node;
    }
    node = calloc(1, sizeof(*node));
    if (node == NULL) {
        return NULL;
    }
    size_t index = node_index(view, address);
    snprintf(node->address, sizeof(node->address), "%s", address);
    node->state = VIEW_DOWN;
    node->learned_ms = now;
    node->referred_ms = now;
    node->since_ms = now;
    memmove(&view->nodes[index + 1], &view->nodes[index],
            (view->nodes_count - index) * sizeof(view->nodes[0]));
    view->nodes[index] = node;
    view->nodes_count++;
    return node;
}

static void node_remove(struct ring_view *view, size_t index) {
    struct view_node *node = view->nodes[index];
    view->nodes_count--;
    memmove(&view->nodes[index], &view->nodes[index + 1],
            (view->nodes_count - index) * sizeof(view->nodes[0]));
    rpc_reply_free(&node->reply);
    json_decref(node->log);
    free(node);
}

/* Slot i is host:(rpc_port + i). */
int view_slot(const struct ring_view *view, const char *address) {
    const struct settings *settings = &view->app->settings;
    size_t size = strlen(settings->host);
    if (strncmp(address, settings->host, size) != 0 || address[size] != ':') {
        return 0;
    }
    int slot = atoi(address + size + 1) - settings->rpc_port;
    return slot >= 1 && slot <= atomic_load(&view->app->slots) ? slot : 0;
}

bool view_node_alive(const struct view_node *node) {
    return node->heard && node->state != VIEW_DOWN && node->state != VIEW_FOREIGN;
}

const char *view_state_text(enum view_state state) {
    static const char *const texts[] = {"joining", "member", "leaving", "left", "down", "foreign"};
    return texts[state];
}

/* ---- asking ---- */

/* Becomes its own answer. */
struct view_question {
    struct view_answer answer; /* first: the inbox frees it */
    struct ring_view *view;
};

static void inbox_put(struct ring_view *view, struct view_answer *answer) {
    pthread_mutex_lock(&view->inbox_lock);
    answer->next = view->inbox;
    view->inbox = answer;
    pthread_mutex_unlock(&view->inbox_lock);
    /* Without the view's lock a wake-up may be missed; the thread looks every 50 ms anyway. */
    pthread_cond_signal(&view->wake);
}

/* On a thread of the RPC runtime: only enqueues. */
static void question_answered(void *context, struct rpc_reply *reply) {
    struct view_question *question = context;
    struct view_answer *answer = &question->answer;
    answer->reply = *reply;
    inbox_put(question->view, answer);
}

void ring_view_disconnected(struct ring_view *view, const char *address) {
    struct view_question *question = calloc(1, sizeof(*question));
    if (question != NULL) {
        question->answer.kind = VIEW_ANSWER_DISCONNECT;
        snprintf(question->answer.address, sizeof(question->answer.address), "%s", address);
        inbox_put(view, &question->answer);
    }
}

static struct view_question *question_new(struct ring_view *view, const struct view_node *node,
                                          enum view_answer_kind kind) {
    struct view_question *question = calloc(1, sizeof(*question));
    if (question != NULL) {
        question->view = view;
        question->answer.kind = kind;
        memcpy(question->answer.address, node->address, sizeof(question->answer.address));
    }
    return question;
}

static void node_ask(struct ring_view *view, struct view_node *node) {
    struct view_question *question = question_new(view, node, VIEW_ANSWER_STATUS);
    if (question == NULL) {
        return;
    }
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    node->asking = true;
    client_ask(view->app->ring, node->address, RPC_ADMIN_STATUS, &request.base,
               node->lost ? VIEW_LOST_TIMEOUT_MS : VIEW_STATUS_TIMEOUT_MS, question_answered,
               question);
}

static void node_ask_log(struct ring_view *view, struct view_node *node) {
    struct view_question *question = question_new(view, node, VIEW_ANSWER_LOG);
    if (question == NULL) {
        return;
    }
    Chord__V1__LogsRequest request = CHORD__V1__LOGS_REQUEST__INIT;
    request.after_sequence = node->log_sequence;
    request.limit = 100;
    request.level = CHORD__V1__LOG_LEVEL__LOG_LEVEL_INFO;
    node->log_asking = true;
    client_ask(view->app->ring, node->address, RPC_ADMIN_LOGS, &request.base,
               VIEW_STATUS_TIMEOUT_MS, question_answered, question);
}

static void answer_apply(struct ring_view *view, struct view_answer *answer, uint64_t now) {
    struct view_node *node = view_node_find(view, answer->address);
    if (node == NULL) {
        rpc_reply_free(&answer->reply);
        return;
    }
    if (answer->kind == VIEW_ANSWER_DISCONNECT) {
        /* One failure already; the next answer decides. */
        node->lost = true;
        node->failures = node->failures == 0 ? 1 : node->failures;
        node->ask_at_ms = now;
        return;
    }
    if (answer->kind == VIEW_ANSWER_LOG) {
        node->log_asking = false;
        view_log_apply(view, node, &answer->reply);
        rpc_reply_free(&answer->reply);
        return;
    }
    node->asking = false;
    if (answer->reply.code == CHORD__V1__CODE__CODE_OK && answer->reply.response != NULL &&
        !view_renamed(view, node, &answer->reply, now)) {
        view_status_apply(view, node, &answer->reply, now); /* takes the reply */
        node->ask_at_ms = now + VIEW_POLL_MS;
        if (node->status->log_sequence != node->log_sequence && !node->log_asking) {
            node_ask_log(view, node);
        }
    } else {
        view_status_failed(view, node, &answer->reply, now);
        bool down = node->state == VIEW_DOWN && !node->lost;
        node->lost = node->lost && node->state != VIEW_DOWN;
        node->ask_at_ms = now + (down ? VIEW_POLL_DOWN_MS : VIEW_POLL_FAST_MS);
        rpc_reply_free(&answer->reply);
    }
}

static void inbox_take(struct ring_view *view, uint64_t now) {
    pthread_mutex_lock(&view->inbox_lock);
    struct view_answer *list = view->inbox;
    view->inbox = NULL;
    pthread_mutex_unlock(&view->inbox_lock);
    struct view_answer *first = NULL;
    while (list != NULL) { /* it was filled at its head: turn it round */
        struct view_answer *next = list->next;
        list->next = first;
        first = list;
        list = next;
    }
    while (first != NULL) {
        struct view_answer *next = first->next;
        answer_apply(view, first, now);
        free(first);
        first = next;
    }
}

/* Known from the settings, not from what nodes say. */
static bool node_is_given(const struct ring_view *view, const struct view_node *node) {
    bool given = view_slot(view, node->address) > 0;
    for (size_t k = 0; k < view->app->settings.join_count; k++) {
        given = given || strcmp(view->app->settings.join[k], node->address) == 0;
    }
    return given;
}

static void nodes_ask(struct ring_view *view, uint64_t now) {
    for (size_t i = view->nodes_count; i-- > 0;) {
        struct view_node *node = view->nodes[i];
        bool foreign = node->state == VIEW_FOREIGN;
        uint64_t quiet = node->heard ? VIEW_FORGET_MS : 60000;
        quiet = foreign ? VIEW_FOREIGN_MS : node->departed ? VIEW_DEPARTED_MS : quiet;
        if (!node->asking && !node->log_asking && (foreign || node->state == VIEW_DOWN) &&
            now - node->since_ms > quiet && (foreign || now - node->referred_ms > quiet) &&
            !node_is_given(view, node)) {
            db_member_forget(view->app->db, node->address);
            node_remove(view, i);
            continue;
        }
        if (!node->asking && now >= node->ask_at_ms) {
            node_ask(view, node);
        }
    }
}

/* The gateway goes with its host's nodes to their ring: the members of the former one are none. */
static void ring_follow(struct ring_view *view) {
    if (!view_ring_follow(view)) {
        return;
    }
    hints_clear(view->app->hints);
    for (size_t i = view->nodes_count; i-- > 0;) {
        struct view_node *node = view->nodes[i];
        node->ask_at_ms = 0;
        if (!node_is_given(view, node) && !node->asking && !node->log_asking) {
            db_member_forget(view->app->db, node->address);
            node_remove(view, i);
        }
    }
}

static void slots_learn(struct ring_view *view, uint64_t now) {
    const struct settings *settings = &view->app->settings;
    for (int slot = 1; slot <= atomic_load(&view->app->slots); slot++) {
        char address[SETTINGS_ADDRESS_SIZE];
        snprintf(address, sizeof(address), "%.50s:%d", settings->host, settings->rpc_port + slot);
        (void)view_node_add(view, address, now);
    }
}

static void view_publish(struct ring_view *view, uint64_t now) {
    if (now - view->published_ms < VIEW_PUBLISH_MS) {
        return;
    }
    uint64_t hash = view_ring_hash(view);
    if (hash == view->published_hash && now - view->published_ms < VIEW_VOLATILE_MS) {
        return;
    }
    view->published_ms = now;
    view->published_hash = hash;
    json_t *ring = view_ring_json(view, now);
    char *text = ring == NULL ? NULL : json_dumps(ring, JSON_COMPACT);
    if (text != NULL) {
        events_ring_set(view->app->events, text);
    }
    free(text);
    json_decref(ring);
}

static void *view_thread(void *context) {
    struct ring_view *view = context;
    pthread_mutex_lock(&view->lock);
    while (!view->stopping) {
        uint64_t now = clock_now_ms();
        slots_learn(view, now);
        inbox_take(view, now);
        ring_follow(view);
        nodes_ask(view, now);
        view_health_compute(view, now);
        if (!view->first_round_done && now - view->started_ms > 2 * VIEW_STATUS_TIMEOUT_MS) {
            view->first_round_done = true;
        }
        view_publish(view, now);
        clock_cond_wait(&view->wake, &view->lock, now + 50);
    }
    pthread_mutex_unlock(&view->lock);
    return NULL;
}

/* ---- opening and closing ---- */

static void member_restore(void *context, const char *address, const char *id) {
    struct ring_view *view = context;
    struct view_node *node = view_node_add(view, address, view->started_ms);
    if (node != NULL && strlen(id) < sizeof(node->id)) {
        snprintf(node->id, sizeof(node->id), "%s", id);
        node->heard = true;
        node->fell = true;
    }
}

struct ring_view *ring_view_new(struct app *app) {
    struct ring_view *view = calloc(1, sizeof(*view));
    if (view == NULL) {
        return NULL;
    }
    view->app = app;
    view->started_ms = clock_now_ms();
    view->health.state = "forming";
    pthread_mutex_init(&view->lock, NULL);
    pthread_mutex_init(&view->inbox_lock, NULL);
    clock_cond_init(&view->wake);
    slots_learn(view, view->started_ms);
    for (size_t i = 0; i < app->settings.join_count; i++) {
        (void)view_node_add(view, app->settings.join[i], view->started_ms);
    }
    db_members_read(app->db, member_restore, view);
    return view;
}

bool ring_view_start(struct ring_view *view) {
    view_ring_restore(view);
    view->thread_runs = pthread_create(&view->thread, NULL, view_thread, view) == 0;
    return view->thread_runs;
}

void ring_view_stop(struct ring_view *view) {
    if (view == NULL || !view->thread_runs) {
        return;
    }
    pthread_mutex_lock(&view->lock);
    view->stopping = true;
    pthread_cond_signal(&view->wake);
    pthread_mutex_unlock(&view->lock);
    pthread_join(view->thread, NULL);
    view->thread_runs = false;
}

void ring_view_free(struct ring_view *view) {
    if (view == NULL) {
        return;
    }
    while (view->inbox != NULL) {
        struct view_answer *next = view->inbox->next;
        rpc_reply_free(&view->inbox->reply);
        free(view->inbox);
        view->inbox = next;
    }
    survival_free(&view->health.verdict.survival); /* it points into the nodes' answers */
    while (view->nodes_count > 0) {
        node_remove(view, view->nodes_count - 1);
    }
    pthread_cond_destroy(&view->wake);
    pthread_mutex_destroy(&view->lock);
    pthread_mutex_destroy(&view->inbox_lock);
    free(view);
}

/* ---- asking the view ---- */

void ring_view_learn(struct ring_view *view, const char *address) {
    pthread_mutex_lock(&view->lock);
    uint64_t now = clock_now_ms();
    struct view_node *node = view_node_add(view, address, now);
    if (node != NULL) {
        node->referred_ms = now;
    }
    pthread_mutex_unlock(&view->lock);
}

json_t *ring_view_last_log(struct ring_view *view, const char *address) {
    pthread_mutex_lock(&view->lock);
    const struct view_node *node = view_node_find(view, address);
    json_t *lines = node == NULL || node->log == NULL ? json_array() : json_deep_copy(node->log);
    pthread_mutex_unlock(&view->lock);
    return lines;
}

void ring_view_save(struct ring_view *view) {
    pthread_mutex_lock(&view->lock);
    for (size_t i = 0; i < view->nodes_count; i++) {
        if (view->nodes[i]->heard && view->nodes[i]->id[0] != '\0') {
            db_member_save(view->app->db, view->nodes[i]->address, view->nodes[i]->id);
        }
    }
    pthread_mutex_unlock(&view->lock);
}

void ring_view_poke(struct ring_view *view, const char *address) {
    pthread_mutex_lock(&view->lock);
    struct view_node *node = view_node_find(view, address);
    if (node != NULL) {
        node->ask_at_ms = 0;
        pthread_cond_signal(&view->wake);
    }
    pthread_mutex_unlock(&view->lock);
}

static void ref_fill(const struct ring_view *view, const struct view_node *node,
                     struct view_ref *ref) {
    memset(ref, 0, sizeof(*ref));
    snprintf(ref->address, sizeof(ref->address), "%s", node->address);
    snprintf(ref->id, sizeof(ref->id), "%s", node->id);
    ref->state = node->state;
    ref->slot = view_slot(view, node->address);
}

bool ring_view_find(struct ring_view *view, const char *name, struct view_ref *ref) {
    pthread_mutex_lock(&view->lock);
    const struct view_node *node = view_node_find(view, name);
    const struct view_node *down = NULL;
    for (size_t i = 0; i < view->nodes_count && node == NULL; i++) {
        const struct view_node *other = view->nodes[i];
        if (strcasecmp(other->id, name) == 0 && other->id[0] != '\0') {
            /* An id may be taken over; the living one has it. */
            node = view_node_alive(other) ? other : NULL;
            down = other;
        }
    }
    node = node == NULL ? down : node;
    if (node != NULL && !node->heard && view_slot(view, node->address) == 0) {
        node = NULL; /* only a rumour */
    }
    if (node != NULL) {
        ref_fill(view, node, ref);
    }
    pthread_mutex_unlock(&view->lock);
    return node != NULL;
}

size_t ring_view_alive(struct ring_view *view, struct view_ref *refs, size_t max) {
    size_t count = 0;
    pthread_mutex_lock(&view->lock);
    size_t turn = view->nodes_count == 0 ? 0 : view->alive_turn++ % view->nodes_count;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t k = 0; k < view->nodes_count && count < max; k++) {
            const struct view_node *node = view->nodes[(k + turn) % view->nodes_count];
            bool member = node->state == VIEW_MEMBER && node->failures == 0;
            if (view_node_alive(node) && member == (pass == 0) && node->state != VIEW_LEFT) {
                ref_fill(view, node, &refs[count++]);
            }
        }
    }
    pthread_mutex_unlock(&view->lock);
    return count;
}

bool ring_view_disks_full(struct ring_view *view) {
    bool full = false;
    bool room = false;
    pthread_mutex_lock(&view->lock);
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        if (view_node_alive(node) && node->status != NULL) {
            full = full || node->status->read_only;
            room = room || !node->status->read_only;
        }
    }
    pthread_mutex_unlock(&view->lock);
    return full && !room;
}

struct view_parameters ring_view_parameters(struct ring_view *view) {
    pthread_mutex_lock(&view->lock);
    struct view_parameters parameters = view->parameters;
    pthread_mutex_unlock(&view->lock);
    return parameters;
}

bool ring_view_leader(struct ring_view *view, const struct ring_id *id,
                      struct client_leader *leader) {
    *leader = (struct client_leader){.epoch = 0};
    pthread_mutex_lock(&view->lock);
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        if (view_node_alive(node)) {
            client_leader_take(leader, node->address, node->status, id);
        }
    }
    pthread_mutex_unlock(&view->lock);
    return leader->epoch != 0;
}
