/* Whole requests on their way from the poller to the workers; see http_internal.h. Who came first
 * is served first, so busy connections take turns. */
#include "http_internal.h"

void http_queue_push(struct http_server *server, struct http_queue *queue,
                     struct http_connection *connection) {
    connection->queue_next = NULL;
    pthread_mutex_lock(&server->lock);
    if (queue->last == NULL) {
        queue->first = connection;
    } else {
        queue->last->queue_next = connection;
    }
    queue->last = connection;
    pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(&server->lock);
}

struct http_connection *http_queue_pop(struct http_server *server, struct http_queue *queue) {
    pthread_mutex_lock(&server->lock);
    while (queue->first == NULL && !atomic_load(&server->stopping)) {
        pthread_cond_wait(&queue->filled, &server->lock);
    }
    struct http_connection *connection = atomic_load(&server->stopping) ? NULL : queue->first;
    if (connection != NULL) {
        queue->first = connection->queue_next;
        queue->last = queue->first == NULL ? NULL : queue->last;
    }
    pthread_mutex_unlock(&server->lock);
    return connection;
}

/* Requests that no worker took in time are answered by the others: try again. */
void http_queue_overdue(struct http_server *server, uint64_t now) {
    static const struct http_refusal too_late = {
        .status = 503,
        .code = "RESOURCE_EXHAUSTED",
        .reason = "the gateway has more to do than it can; try again",
        .headers = "Retry-After: 1\r\n"};
    struct http_connection *late = NULL;
    pthread_mutex_lock(&server->lock);
    while (server->normal.first != NULL &&
           now >= server->normal.first->queued_ms + HTTP_QUEUE_MS_MAX) {
        struct http_connection *connection = server->normal.first;
        server->normal.first = connection->queue_next;
        server->normal.last = server->normal.first == NULL ? NULL : server->normal.last;
        connection->queue_next = late;
        late = connection;
    }
    pthread_mutex_unlock(&server->lock);
    while (late != NULL) {
        struct http_connection *connection = late;
        late = connection->queue_next;
        connection->refusal = too_late;
        http_queue_push(server, &server->quick, connection);
    }
}
