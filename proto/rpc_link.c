/* SPDX-License-Identifier: MIT */
/*
 * One connection of the client: to one peer, on one lane. Dialled when a call waits for it, and
 * again, with growing pauses, as long as one does. Many calls are under way on it at once; the ids
 * in front of the answers tell whose they are. When it is lost, all its calls end. Knows frames,
 * nothing of what calls mean.
 */
#include <stdio.h>
#include <string.h>

#include "rpc_peer.h"

enum { DIALERS_SPARE_MAX = 128 };

/* ---- the calls ---- */

static struct rpc_pending **bucket_of(struct rpc_link *link, uint32_t id) {
    return &link->by_id[id % RPC_LINK_BUCKETS];
}

static void open_add(struct rpc_link *link, struct rpc_pending *pending) {
    struct rpc_pending **bucket = bucket_of(link, pending->id);
    pending->next_alike = *bucket;
    *bucket = pending;
    pending->next = NULL;
    pending->previous = link->open_last;
    if (link->open_last != NULL) {
        link->open_last->next = pending;
    } else {
        link->open = pending;
    }
    link->open_last = pending;
}

static void open_remove(struct rpc_link *link, struct rpc_pending *pending) {
    struct rpc_pending **at = bucket_of(link, pending->id);
    while (*at != pending) {
        at = &(*at)->next_alike;
    }
    *at = pending->next_alike;
    if (pending->previous != NULL) {
        pending->previous->next = pending->next;
    } else {
        link->open = pending->next;
    }
    if (pending->next != NULL) {
        pending->next->previous = pending->previous;
    } else {
        link->open_last = pending->previous;
    }
}

static struct rpc_pending *open_find(struct rpc_link *link, uint32_t id) {
    struct rpc_pending *pending = *bucket_of(link, id);
    while (pending != NULL && pending->id != id) {
        pending = pending->next_alike;
    }
    return pending;
}

void rpc_link_take(struct rpc_pending *pending) {
    struct rpc_link *link = pending->link;
    open_remove(link, pending);
    if (pending->frame == NULL && !pending->sent) {
        pending->frame = rpc_outbox_take(&link->out, &pending->sent);
    }
    rpc_frame_free(pending->frame);
    pending->frame = NULL;
}

struct rpc_pending **rpc_link_take_all(struct rpc_link *link, struct rpc_pending **last) {
    while (link->open != NULL) {
        struct rpc_pending *pending = link->open;
        rpc_link_take(pending);
        pending->next = NULL;
        *last = pending;
        last = &pending->next;
    }
    return last;
}

/* A connection that was silent during a whole call may have lost packets to a cut cable or a dead
 * router: TCP sends them again after 0.2, 0.4, 0.8, ... s, so that it would stay silent for up to
 * as long as the cut was, once that is over. A new connection works at once. */
void rpc_link_told(const struct rpc_pending *pending, int rv) {
    struct rpc_link *link = pending->link;
    link->open_count--;
    if (rv == 0) {
        link->heard_us = rpc_now_us();
    } else if (rv == NNG_ETIMEDOUT && link->state == RPC_LINK_UP &&
               link->heard_us < pending->started_us) {
        link->peer->given_up = true;
    }
    rpc_peer_changed(link->peer);
}

/* ---- the connection ---- */

static bool link_is_ours_to_end(const struct rpc_link *link) {
    return link->peer->closing || link->peer->client->closing;
}

uint64_t rpc_link_due_us(const struct rpc_link *link) {
    bool waits = link->state == RPC_LINK_DIALS || link->state == RPC_LINK_GREETS ||
                 (link->state == RPC_LINK_DOWN && link->open != NULL);
    return waits && !link_is_ours_to_end(link) ? link->due_us : UINT64_MAX;
}

static void link_due_at(struct rpc_link *link, uint64_t us) {
    link->due_us = us;
    if (rpc_link_due_us(link) != UINT64_MAX) {
        rpc_timer_wake_at(link->peer->client, us);
    }
}

static void link_dial(struct rpc_link *link) {
    link->state = RPC_LINK_DIALS;
    nng_stream_dialer_dial(link->dialer, link->dial_aio);
    link_due_at(link, rpc_now_us() + RPC_CONNECT_MS_MAX * UINT64_C(1000));
}

void rpc_link_due(struct rpc_link *link) {
    link->due_us = UINT64_MAX;
    if (link->state == RPC_LINK_DOWN) {
        link_dial(link);
    } else if (link->state == RPC_LINK_DIALS) {
        nng_aio_cancel(link->dial_aio);
    } else if (!link->broken) {
        link->broken = true; /* its hello has not come: in_event will end it */
        nng_stream_close(link->stream);
    }
}

/* There is no connection, and none is tried for a while. */
static void link_pause(struct rpc_link *link) {
    uint64_t pause_us = link->dial_pause_ms * UINT64_C(1000);
    link->state = RPC_LINK_DOWN;
    link->dial_pause_ms = 2 * link->dial_pause_ms < RPC_RECONNECT_MS_MAX ? 2 * link->dial_pause_ms
                                                                         : RPC_RECONNECT_MS_MAX;
    link_due_at(link, rpc_now_us() + pause_us);
}

/* Once nothing of nng's points to a closed connection any more. */
static void link_settle(struct rpc_link *link) {
    if (link->state != RPC_LINK_ENDS || link->reading || link->out.sending) {
        return;
    }
    nng_stream_free(link->stream);
    link->stream = NULL;
    link->broken = false;
    rpc_outbox_clear(&link->out);
    rpc_inbox_free(&link->in);
    link_pause(link);
}

/* Closes the connection. Returns the calls that end with it: those on a connection that was good;
 * the others wait for the next one. */
static struct rpc_pending *link_end(struct rpc_link *link) {
    struct rpc_pending *ended = NULL;
    if (link->state == RPC_LINK_UP) {
        (void)rpc_link_take_all(link, &ended);
    }
    if (link->state == RPC_LINK_UP || link->state == RPC_LINK_GREETS) {
        link->state = RPC_LINK_ENDS;
        nng_stream_close(link->stream);
    }
    link_settle(link);
    return ended;
}

/* The other side is what it should be: what waited goes. */
static bool link_greeted(struct rpc_link *link) {
    link->in.greeted = true;
    link->state = RPC_LINK_UP;
    link->dial_pause_ms = RPC_RECONNECT_MS_MIN;
    for (struct rpc_pending *pending = link->open; pending != NULL; pending = pending->next) {
        rpc_outbox_push(&link->out, pending->frame);
        pending->frame = NULL;
    }
    return rpc_outbox_send(&link->out, link->stream) >= 0;
}

static uint32_t be32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* With the lock held; gives it up while the answer is told. */
static void message_handle(struct rpc_link *link, const uint8_t *bytes, size_t bytes_count) {
    struct rpc_pending *pending = open_find(link, be32(bytes));
    if (pending == NULL || !pending->sent) {
        return; /* its call is over */
    }
    struct rpc_client *client = link->peer->client;
    rpc_link_take(pending);
    pthread_mutex_unlock(&client->lock);
    rpc_pending_answer(pending, bytes + RPC_ID_BYTES, bytes_count - RPC_ID_BYTES);
    pthread_mutex_lock(&client->lock);
}

/* Handles what is complete, and reads on. False: the connection must end, or has. */
static bool in_go_on(struct rpc_link *link) {
    struct rpc_inbox *in = &link->in;
    size_t wanted;
    while ((wanted = rpc_inbox_wanted(in, rpc_hello_rep)) != 0 && in->count - in->at >= wanted) {
        const uint8_t *at = in->bytes + in->at;
        in->at += wanted;
        if (!in->greeted) {
            if (!link_greeted(link)) {
                return false;
            }
            continue;
        }
        message_handle(link, at + RPC_LENGTH_BYTES, wanted - RPC_LENGTH_BYTES);
        if (link->state != RPC_LINK_UP || link->broken || link_is_ours_to_end(link)) {
            return false; /* nng would never end a read of a closed stream */
        }
    }
    size_t capacity = wanted == 0 ? 0 : rpc_inbox_compact(in, wanted, true);
    if (wanted == 0 || (capacity != in->capacity && !rpc_inbox_resize(in, capacity))) {
        return false;
    }
    rpc_inbox_recv(in, link->stream, link->in_aio);
    return true;
}

/* With the lock held, which it gives back: tells what ends with the connection. */
static void link_lost(struct rpc_link *link) {
    struct rpc_client *client = link->peer->client;
    bool tell =
        link->state == RPC_LINK_UP && !link_is_ours_to_end(link) && client->on_disconnect != NULL;
    char address[RPC_ADDRESS_BYTES_MAX + 1];
    memcpy(address, link->peer->address, sizeof address);
    struct rpc_pending *ended = link_end(link);
    pthread_mutex_unlock(&client->lock);
    rpc_pending_fail(ended, NNG_ECONNRESET);
    if (tell) {
        client->on_disconnect(client->context, address);
    }
}

/* A read has ended. */
static void in_event(void *context) {
    struct rpc_link *link = context;
    struct rpc_client *client = link->peer->client;
    pthread_mutex_lock(&client->lock);
    bool good = nng_aio_result(link->in_aio) == 0 && link->state != RPC_LINK_ENDS &&
                !link->broken && !link_is_ours_to_end(link);
    if (good) {
        rpc_inbox_read(&link->in, nng_aio_count(link->in_aio));
        good = in_go_on(link);
    }
    if (good) {
        pthread_mutex_unlock(&client->lock);
    } else {
        link->reading = false;
        link_lost(link);
    }
}

/* A send that had to wait has ended. */
static void out_event(void *context) {
    struct rpc_link *link = context;
    struct rpc_client *client = link->peer->client;
    pthread_mutex_lock(&client->lock);
    bool good = rpc_outbox_sent(&link->out) >= 0 && link->state != RPC_LINK_ENDS && !link->broken &&
                !link_is_ours_to_end(link) && rpc_outbox_send(&link->out, link->stream) >= 0;
    if (good) {
        pthread_mutex_unlock(&client->lock);
    } else {
        link_lost(link);
    }
}

static void dial_event(void *context) {
    struct rpc_link *link = context;
    struct rpc_client *client = link->peer->client;
    pthread_mutex_lock(&client->lock);
    int rv = nng_aio_result(link->dial_aio);
    nng_stream *stream = rv == 0 ? nng_aio_get_output(link->dial_aio, 0) : NULL;
    struct rpc_frame *hello = stream == NULL ? NULL : rpc_frame_hello(rpc_hello_req);
    if (hello == NULL || link_is_ours_to_end(link) ||
        !rpc_inbox_resize(&link->in, RPC_BUFFER_BYTES)) {
        rpc_frame_free(hello);
        if (stream != NULL) {
            nng_stream_close(stream);
            nng_stream_free(stream);
        }
        link_pause(link);
        pthread_mutex_unlock(&client->lock);
        return;
    }
    link->stream = stream;
    link->state = RPC_LINK_GREETS;
    link->reading = true;
    link_due_at(link, rpc_now_us() + RPC_GREET_MS_MAX * UINT64_C(1000));
    rpc_outbox_push(&link->out, hello);
    bool good = rpc_outbox_send(&link->out, stream) >= 0;
    rpc_inbox_recv(&link->in, stream, link->in_aio);
    if (good) {
        pthread_mutex_unlock(&client->lock);
    } else {
        link_lost(link);
    }
}

void rpc_link_start(struct rpc_link *link, struct rpc_pending *pending, struct rpc_frame *frame) {
    pending->frame = frame;
    frame->sent = &pending->sent;
    open_add(link, pending);
    rpc_timer_wake_at(link->peer->client, rpc_pending_deadline_us(pending));
    if (link->state == RPC_LINK_UP && !link->broken) {
        pending->frame = NULL;
        rpc_outbox_push(&link->out, frame);
        if (rpc_outbox_send(&link->out, link->stream) < 0) {
            link->broken = true; /* in_event will end it, on its own thread */
            nng_stream_close(link->stream);
        }
    } else if (link->state == RPC_LINK_DOWN) {
        if (rpc_now_us() >= link->due_us) {
            link_dial(link);
        } else {
            rpc_timer_wake_at(link->peer->client, link->due_us);
        }
    }
}

/* ---- dialers ---- */

/* Those that no link uses just now; the one that is in use again first is the last. A connection
 * holds on to its dialer, and nng lets go of a closed one on a thread of its own, so a dialer is
 * freed long after its last use, when nobody else can be the one to free it: nng counts who holds
 * it in a way that no thread sanitizer sees. Any client's. */
static struct {
    pthread_mutex_t lock;
    size_t count;
    struct {
        nng_stream_dialer *dialer;
        char url[RPC_URL_BYTES];
    } items[DIALERS_SPARE_MAX];
} spares = {.lock = PTHREAD_MUTEX_INITIALIZER};

static nng_stream_dialer *spare_remove(size_t at) {
    nng_stream_dialer *dialer = spares.items[at].dialer;
    spares.count--;
    memmove(&spares.items[at], &spares.items[at + 1], (spares.count - at) * sizeof spares.items[0]);
    return dialer;
}

/* A spare one, taken out. NULL: there is none. */
static nng_stream_dialer *spare_take(const char *url) {
    nng_stream_dialer *dialer = NULL;
    pthread_mutex_lock(&spares.lock);
    for (size_t i = spares.count; i-- > 0 && dialer == NULL;) {
        if (strcmp(spares.items[i].url, url) == 0) {
            dialer = spare_remove(i);
        }
    }
    pthread_mutex_unlock(&spares.lock);
    return dialer;
}

static void dialer_put(nng_stream_dialer *dialer, const char *url) {
    nng_stream_dialer *oldest = NULL;
    pthread_mutex_lock(&spares.lock);
    if (spares.count == DIALERS_SPARE_MAX) {
        oldest = spare_remove(0);
    }
    spares.items[spares.count].dialer = dialer;
    snprintf(spares.items[spares.count].url, RPC_URL_BYTES, "%s", url);
    spares.count++;
    pthread_mutex_unlock(&spares.lock);
    if (oldest != NULL) {
        nng_stream_dialer_free(oldest);
    }
}

static int dialer_get(nng_stream_dialer **dialer, const char *url) {
    *dialer = spare_take(url);
    int rv = *dialer != NULL ? 0 : nng_stream_dialer_alloc(dialer, url);
    return rv == 0 ? nng_stream_dialer_set_bool(*dialer, NNG_OPT_TCP_NODELAY, true) : rv;
}

/* ---- begin and end ---- */

/* Nothing of it is under way. A dialer that was stopped while it dialled is not used again, since
 * it could take the end of this attempt for that of the next. */
static void link_free(struct rpc_link *link, bool reusable) {
    if (link->stream != NULL) {
        nng_stream_free(link->stream);
    }
    nng_aio_free(link->dial_aio);
    nng_aio_free(link->in_aio);
    nng_aio_free(link->out.now);
    nng_aio_free(link->out.later);
    rpc_outbox_clear(&link->out);
    rpc_inbox_free(&link->in);
    if (link->dialer != NULL) {
        dialer_put(link->dialer, reusable ? link->peer->url : "");
    }
    *link = (struct rpc_link){.peer = link->peer};
}

int rpc_link_open(struct rpc_link *link) {
    int rv;
    if (link->dialer != NULL) {
        return 0;
    }
    if ((rv = dialer_get(&link->dialer, link->peer->url)) != 0 ||
        (rv = nng_aio_alloc(&link->dial_aio, dial_event, link)) != 0 ||
        (rv = nng_aio_alloc(&link->in_aio, in_event, link)) != 0 ||
        (rv = rpc_outbox_open(&link->out, out_event, link)) != 0) {
        link_free(link, true);
        return rv;
    }
    /* No times of nng's: when one is over, its thread of deadlines calls into the stream or dialer
     * without keeping it, and the callback that this leads to may have freed it meanwhile. */
    nng_aio_set_timeout(link->dial_aio, NNG_DURATION_INFINITE);
    nng_aio_set_timeout(link->in_aio, NNG_DURATION_INFINITE);
    link->dial_pause_ms = RPC_RECONNECT_MS_MIN;
    return 0;
}

void rpc_link_close(struct rpc_link *link) {
    struct rpc_client *client = link->peer->client;
    if (link->dialer == NULL) {
        return;
    }
    pthread_mutex_lock(&client->lock);
    (void)link_end(link); /* it has no calls */
    bool dials = link->state == RPC_LINK_DIALS;
    pthread_mutex_unlock(&client->lock);
    if (dials) {
        nng_stream_dialer_close(link->dialer);
    }
    nng_aio_stop(link->dial_aio);
    nng_aio_stop(link->in_aio);
    nng_aio_stop(link->out.now);
    nng_aio_stop(link->out.later);
    link_free(link, !dials);
}
