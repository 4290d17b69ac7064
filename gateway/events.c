/* SPDX-License-Identifier: MIT */
/* The event hub; see events.h. One history ring for all; a stream is a place in it. */
#include "events.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "url.h"

struct event {
    uint64_t sequence;
    char *text; /* the whole frame: "id: ..\nevent: ..\ndata: ..\n\n" */
};

struct events {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct db *db;
    struct event history[EVENTS_HISTORY_MAX]; /* at sequence % max */
    uint64_t oldest;                          /* in the history */
    uint64_t newest;
    char *ring;
    uint64_t ring_version;
    unsigned streams;
    bool stopping;
};

struct events *events_new(struct db *db) {
    struct events *events = calloc(1, sizeof(*events));
    if (events == NULL) {
        return NULL;
    }
    pthread_mutex_init(&events->lock, NULL);
    clock_cond_init(&events->changed);
    events->db = db;
    /* A gap, so that a number given but not saved before a crash is not given again. */
    events->newest = db_event_sequence(db);
    events->newest += events->newest > 0 ? 10000 : 0;
    events->oldest = events->newest + 1;
    return events;
}

void events_free(struct events *events) {
    if (events == NULL) {
        return;
    }
    for (size_t i = 0; i < EVENTS_HISTORY_MAX; i++) {
        free(events->history[i].text);
    }
    free(events->ring);
    pthread_cond_destroy(&events->changed);
    pthread_mutex_destroy(&events->lock);
    free(events);
}

static char *frame_make(uint64_t sequence, const char *type, const char *data) {
    char *text = NULL;
    if (asprintf(&text, "id: %llu\nevent: %s\ndata: %s\n\n", (unsigned long long)sequence, type,
                 data) < 0) {
        return NULL;
    }
    return text;
}

void events_publish(struct events *events, const char *type, json_t *data, bool keep) {
    char *text = data == NULL ? NULL : json_dumps(data, JSON_COMPACT);
    json_decref(data);
    if (text == NULL) {
        return;
    }
    pthread_mutex_lock(&events->lock);
    uint64_t sequence = ++events->newest;
    struct event *event = &events->history[sequence % EVENTS_HISTORY_MAX];
    free(event->text);
    event->sequence = sequence;
    event->text = frame_make(sequence, type, text);
    if (events->newest - events->oldest >= EVENTS_HISTORY_MAX) {
        events->oldest = events->newest - EVENTS_HISTORY_MAX + 1;
    }
    pthread_cond_broadcast(&events->changed);
    pthread_mutex_unlock(&events->lock);
    if (keep) {
        db_event_save(events->db, sequence, clock_unix_ms(), type, text);
    }
    free(text);
}

void events_ring_set(struct events *events, const char *text) {
    char *copy = strdup(text);
    if (copy == NULL) {
        return;
    }
    pthread_mutex_lock(&events->lock);
    free(events->ring);
    events->ring = copy;
    events->ring_version++;
    pthread_cond_broadcast(&events->changed);
    pthread_mutex_unlock(&events->lock);
}

static char *ring_copy(struct events *events, uint64_t *version) {
    *version = events->ring_version;
    return events->ring == NULL ? NULL : strdup(events->ring);
}

uint64_t events_sequence(struct events *events) {
    pthread_mutex_lock(&events->lock);
    uint64_t sequence = events->newest;
    pthread_mutex_unlock(&events->lock);
    return sequence;
}

void events_stop(struct events *events) {
    pthread_mutex_lock(&events->lock);
    events->stopping = true;
    pthread_cond_broadcast(&events->changed);
    pthread_mutex_unlock(&events->lock);
}

/* ---- one stream ---- */

struct stream {
    struct http_request *request;
    uint64_t next;         /* the event it sends next */
    uint64_t ring_version; /* sent last; 0 = none */
    uint64_t ring_sent_ms;
    uint64_t written_ms;
    bool alive;
};

static void stream_write(struct stream *stream, const char *text) {
    stream->alive = stream->alive && http_stream_write(stream->request, text, strlen(text));
    stream->written_ms = clock_now_ms();
}

static void frame_collect(void *context, uint64_t sequence, const char *type, const char *data) {
    char *text = frame_make(sequence, type, data);
    if (text != NULL) {
        (void)buf_append_text(context, text);
        free(text);
    }
}

/* Collected first: a slow client must not hold the database's lock. */
static void stream_replay(struct events *events, struct stream *stream, uint64_t after) {
    struct buf frames = {0};
    db_events_read(events->db, after, 1000, frame_collect, &frames);
    if (frames.size > 0 && buf_append(&frames, "", 1)) {
        stream_write(stream, (const char *)frames.data);
    }
    buf_free(&frames);
}

/* What is in the database but no longer in memory (a resume after long, or after our restart). */
static void stream_resume(struct events *events, struct stream *stream) {
    const char *last = http_header(stream->request, "Last-Event-ID");
    uint64_t history = 0;
    (void)url_parameter_number(stream->request->query, "history", 0, 1000, 0, &history);
    pthread_mutex_lock(&events->lock);
    uint64_t oldest = events->oldest;
    uint64_t newest = events->newest;
    pthread_mutex_unlock(&events->lock);
    stream->next = newest + 1;
    uint64_t after = newest;
    if (last != NULL && last[0] >= '0' && last[0] <= '9') {
        after = strtoull(last, NULL, 10);
    } else if (history > 0) {
        after = newest > history ? newest - history : 0;
    }
    if (after >= newest) {
        return;
    }
    stream->next = after + 1;
    if (stream->next < oldest) {
        stream_replay(events, stream, after);
        stream->next = oldest;
    }
}

static void stream_wait(struct events *events, struct stream *stream, uint64_t now) {
    uint64_t until = stream->written_ms + EVENTS_PING_MS;
    if (stream->ring_version != events->ring_version) {
        uint64_t ring_due = stream->ring_sent_ms + EVENTS_RING_PERIOD_MS;
        until = ring_due < until ? ring_due : until;
    }
    if (until <= now) {
        return;
    }
    until = until < now + EVENTS_WAIT_MS_MAX ? until : now + EVENTS_WAIT_MS_MAX;
    clock_cond_wait(&events->changed, &events->lock, until);
}

/* With the lock held: takes up to 64 events and, when due, the ring; writes without the lock. */
static void stream_turn(struct events *events, struct stream *stream) {
    char *batch[64];
    size_t count = 0;
    if (stream->next < events->oldest) {
        stream->next = events->oldest; /* too slow: the oldest are lost, the ring makes it whole */
        stream->ring_version = 0;
    }
    while (stream->next <= events->newest && count < 64) {
        const char *text = events->history[stream->next % EVENTS_HISTORY_MAX].text;
        batch[count] = text == NULL ? NULL : strdup(text);
        count += batch[count] != NULL;
        stream->next++;
    }
    char *ring = NULL;
    uint64_t now = clock_now_ms();
    uint64_t sequence = stream->next - 1;
    if (stream->ring_version != events->ring_version &&
        now >= stream->ring_sent_ms + EVENTS_RING_PERIOD_MS) {
        ring = ring_copy(events, &stream->ring_version);
        stream->ring_sent_ms = now;
    }
    bool ping = count == 0 && ring == NULL && now >= stream->written_ms + EVENTS_PING_MS;
    if (count == 0 && ring == NULL && !ping) {
        stream_wait(events, stream, now);
        return;
    }
    pthread_mutex_unlock(&events->lock);
    for (size_t i = 0; i < count; i++) {
        stream_write(stream, batch[i]);
        free(batch[i]);
    }
    if (ring != NULL) {
        char *frame = frame_make(sequence, "ring", ring);
        stream_write(stream, frame == NULL ? ": no memory\n\n" : frame);
        free(frame);
        free(ring);
    }
    if (ping) {
        stream_write(stream, ": ping\n\n");
    }
    pthread_mutex_lock(&events->lock);
}

void events_serve(struct events *events, struct http_request *request) {
    pthread_mutex_lock(&events->lock);
    bool full = events->streams >= EVENTS_STREAMS_MAX;
    events->streams += !full;
    pthread_mutex_unlock(&events->lock);
    if (full) {
        http_problem_more(request, 503, "RESOURCE_EXHAUSTED", "Retry-After: 5\r\n", NULL,
                          "%d event streams are open, which is the limit; close a tab or ask "
                          "GET /api/v1/ring instead",
                          EVENTS_STREAMS_MAX);
        return;
    }
    struct stream stream = {.request = request, .written_ms = clock_now_ms()};
    stream.alive =
        http_stream_begin(request, 200, "text/event-stream", "X-Accel-Buffering: no\r\n");
    if (stream.alive) {
        stream_write(&stream, "retry: 1000\n\n");
        stream_resume(events, &stream);
    }
    pthread_mutex_lock(&events->lock);
    while (stream.alive && !events->stopping && http_may_go_on(request)) {
        stream_turn(events, &stream);
    }
    events->streams--;
    pthread_mutex_unlock(&events->lock);
    if (stream.alive) {
        (void)http_stream_end(request);
    }
}
