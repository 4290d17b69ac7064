/* SPDX-License-Identifier: MIT */
/*
 * Four faults of nng 1.5.2. Two of them show when a connection is lost and have one cause: an
 * operation that starts on a stopped aio is given up without calling the aio's callback.
 *
 * 1. A hang (in part known as nanomsg/nng pull request 1636; the sending half is still there in
 * 1.11). The TCP transport moves a large message in several steps. When a connection is closed
 * between two steps, the next step is given up; the message's own aio then never ends, and nng's
 * one reaper thread waits for it for ever. From that moment no connection of the process is taken
 * down or dialled again. A peer that is killed during a transfer can cause it.
 *
 * nng calls its public nng_stream_send and nng_stream_recv for each step, and a definition in the
 * program comes before the library's. So these two do the step and, if it was given up, end the aio
 * with the error it should have had. The transport's lock is held by the caller, so the aio cannot
 * be started anew or reach its callback meanwhile.
 *
 * 2. A lost message (repaired in 1.6.0: tcptran_pipe_send frees it). REQ stops a pipe's aio
 * before it takes the socket's lock and take the pipe out of use. A message that is put on that
 * pipe in between is given up as a whole, and nobody frees it. At most one message per lost
 * connection, and only if a send falls into these microseconds; the call itself ends as it should.
 * From outside it cannot be freed, because nothing tells a lost message from one that was freed.
 * So it stays lost, and only LeakSanitizer is told which messages were nng's when the end came. A
 * suppression could not be so narrow: libnng is stripped, so it would have to name all of libnng,
 * which is in the stack of everything that our callbacks allocate.
 *
 * 3. No network, no address: nng resolves even "127.0.0.1" with AI_ADDRCONFIG, and then the C
 * library finds no address of a family in which only the loopback interface is up. A ring on one
 * machine could not start on a train. So that flag is taken away on its way to the C library.
 *
 * 4. Threads. nng starts them at its first use, and crashes when one cannot start: so that is when
 * something is opened, and not a call, which may come when threads or memory are short. For its
 * callbacks it starts two for each processor and wakes another one at each step of a message; one
 * may be woken less often when there are fewer. So it is told of one processor (measured with three
 * nodes on two of them, 64 in flight, processor time of all nng threads of the nodes and the
 * gateway for a get: 39 us, then 27).
 */
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

#include "rpc_internal.h"

typedef void stream_step_fn(nng_stream *stream, nng_aio *aio);
typedef int getaddrinfo_fn(const char *name, const char *service, const struct addrinfo *hints,
                           struct addrinfo **found);

static pthread_once_t resolve_once = PTHREAD_ONCE_INIT;
static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static stream_step_fn *real_send;
static stream_step_fn *real_recv;
static getaddrinfo_fn *real_getaddrinfo;
static bool fix_wanted;
static bool messages_get_lost;
static _Thread_local bool nng_starts; /* on this thread, just now */
static int nng_started;               /* 0, or why it cannot start */

static void fix_resolve(void) {
    /* ISO C has no conversion from void * to a function pointer; POSIX promises that it works. */
    *(void **)&real_send = dlsym(RTLD_NEXT, "nng_stream_send");
    *(void **)&real_recv = dlsym(RTLD_NEXT, "nng_stream_recv");
    *(void **)&real_getaddrinfo = dlsym(RTLD_NEXT, "getaddrinfo");
    if (real_send == NULL || real_recv == NULL || real_getaddrinfo == NULL) {
        abort(); /* libnng is linked statically: this file cannot work then */
    }
    /* Later versions call the callback themselves. */
    char *end;
    const char *version = nng_version();
    unsigned long major = strtoul(version, &end, 10);
    unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
    fix_wanted = major == 1 && minor <= 11;
    messages_get_lost = major == 1 && minor < 6;
}

static void functions_find(void) {
    pthread_once(&resolve_once, fix_resolve);
}

/* The C library's, under its other name. */
extern long __sysconf(int name); /* NOLINT(bugprone-reserved-identifier) */

/* The thread sanitizer asks before it is ready for functions that it watches. */
__attribute__((no_sanitize("thread"))) long sysconf(int name) {
    return nng_starts && name == _SC_NPROCESSORS_ONLN ? 1 : __sysconf(name);
}

static void nng_start(void) {
    nng_aio *aio;
    functions_find(); /* this file is linked in */
    nng_starts = true;
    nng_started = nng_aio_alloc(&aio, NULL, NULL) == 0 ? 0 : -ENOMEM;
    nng_starts = false;
    if (nng_started == 0) {
        nng_aio_free(aio);
    }
}

int rpc_nng_start(void) {
    pthread_once(&start_once, nng_start);
    return nng_started;
}

void rpc_nng_fix_given(const void *msg) {
#if defined(__SANITIZE_ADDRESS__)
    if (messages_get_lost) {
        __lsan_ignore_object(msg); /* of a message that was freed it knows nothing: no effect */
    }
#else
    (void)msg;
    (void)messages_get_lost;
#endif
}

/* nng takes a closed endpoint down on its reaper thread, and a process that ends does not wait for
 * that: what nng allocates for the endpoint here is still there at the exit now and then. */
static void leaks_of_nng(bool begin) {
#if defined(__SANITIZE_ADDRESS__)
    if (begin) {
        __lsan_disable();
    } else {
        __lsan_enable();
    }
#else
    (void)begin;
#endif
}

int rpc_nng_fix_dialer(nng_dialer *dialer, nng_socket socket, const char *url) {
    leaks_of_nng(true);
    int rv = nng_dialer_create(dialer, socket, url);
    leaks_of_nng(false);
    return rv;
}

/* A step that was started has the result 0 until it ends, and none ends with ECANCELED here: the
 * transport cancels with ECLOSED as long as a message is under way. */
static void step_end_if_given_up(nng_aio *aio) {
    if (fix_wanted && nng_aio_result(aio) == NNG_ECANCELED) {
        nng_aio_finish(aio, NNG_ECANCELED);
    }
}

void nng_stream_send(nng_stream *stream, nng_aio *aio) {
    functions_find();
    real_send(stream, aio);
    step_end_if_given_up(aio);
}

void nng_stream_recv(nng_stream *stream, nng_aio *aio) {
    functions_find();
    real_recv(stream, aio);
    step_end_if_given_up(aio);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    struct addrinfo wanted = {0};
    functions_find();
    if (hints != NULL) {
        wanted = *hints;
        wanted.ai_flags &= ~AI_ADDRCONFIG;
    }
    return real_getaddrinfo(name, service, hints != NULL ? &wanted : NULL, found);
}
