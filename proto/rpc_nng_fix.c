/*
 * Works around a hang in nng 1.5.2 (in part known as nanomsg/nng pull request 1636; the sending
 * half is still there in 1.11). Its TCP transport moves a large message in several steps. When a
 * connection is closed between two steps, the next step starts on a stopped aio, which nng gives
 * up without calling the aio's callback; the message's own aio then never ends, and nng's one
 * reaper thread waits for it for ever. From that moment no connection of the process is taken down
 * or dialled again. A peer that is killed during a transfer can cause it.
 *
 * nng calls its public nng_stream_send and nng_stream_recv for each step, and a definition in the
 * program comes before the library's. So these two do the step and, if it was given up, end the aio
 * with the error it should have had. The transport's lock is held by the caller, so the aio cannot
 * be started anew or reach its callback meanwhile.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include "rpc_internal.h"

typedef void stream_step_fn(nng_stream *stream, nng_aio *aio);

static pthread_once_t fix_once = PTHREAD_ONCE_INIT;
static stream_step_fn *real_send;
static stream_step_fn *real_recv;
static bool fix_wanted;

static void fix_resolve(void) {
    /* ISO C has no conversion from void * to a function pointer; POSIX promises that it works. */
    *(void **)&real_send = dlsym(RTLD_NEXT, "nng_stream_send");
    *(void **)&real_recv = dlsym(RTLD_NEXT, "nng_stream_recv");
    if (real_send == NULL || real_recv == NULL) {
        abort(); /* libnng is linked statically: this file cannot work then */
    }
    /* Later versions call the callback themselves. */
    char *end;
    const char *version = nng_version();
    unsigned long major = strtoul(version, &end, 10);
    unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
    fix_wanted = major == 1 && minor <= 11;
}

void rpc_nng_fix_init(void) {
    pthread_once(&fix_once, fix_resolve);
}

/* A step that was started has the result 0 until it ends, and none ends with ECANCELED here: the
 * transport cancels with ECLOSED as long as a message is under way. */
static void step_end_if_given_up(nng_aio *aio) {
    if (fix_wanted && nng_aio_result(aio) == NNG_ECANCELED) {
        nng_aio_finish(aio, NNG_ECANCELED);
    }
}

void nng_stream_send(nng_stream *stream, nng_aio *aio) {
    rpc_nng_fix_init();
    real_send(stream, aio);
    step_end_if_given_up(aio);
}

void nng_stream_recv(nng_stream *stream, nng_aio *aio) {
    rpc_nng_fix_init();
    real_recv(stream, aio);
    step_end_if_given_up(aio);
}
