/* SPDX-License-Identifier: MIT */
/*
 * Two habits of nng 1.5.2 that the product cannot live with.
 *
 * 1. No network, no address: nng resolves even "127.0.0.1" with AI_ADDRCONFIG, and then the C
 * library finds no address of a family in which only the loopback interface is up. A ring on one
 * machine could not start on a train. So that flag is taken away on its way to the C library.
 *
 * 2. Threads. nng starts them at its first use, and crashes when one cannot start: so that is when
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

#include "rpc_internal.h"

typedef int getaddrinfo_fn(const char *name, const char *service, const struct addrinfo *hints,
                           struct addrinfo **found);

static pthread_once_t resolve_once = PTHREAD_ONCE_INIT;
static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static getaddrinfo_fn *real_getaddrinfo;
static _Thread_local bool nng_starts; /* on this thread, just now */
static int nng_started;               /* 0, or why it cannot start */

static void fix_resolve(void) {
    /* ISO C has no conversion from void * to a function pointer; POSIX promises that it works. */
    *(void **)&real_getaddrinfo = dlsym(RTLD_NEXT, "getaddrinfo");
    if (real_getaddrinfo == NULL) {
        abort(); /* the C library is linked statically: this file cannot work then */
    }
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
