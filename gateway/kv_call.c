/* One request about a key to the ring; see kv_call.h. */
#include "kv_call.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fate.h"
#include "hints.h"
#include "kv_target.h"
#include "log.h"
#include "ring_view.h"

enum {
    KV_BUDGET_MS = 8000, /* a failed node is replaced within 3 s */
    KV_ATTEMPT_MS = 2000,
    KV_NOBODY_MS = 1000,
};

void kv_target_find(struct app *app, const struct ring_id *id, unsigned attempt,
                    char address[SETTINGS_ADDRESS_SIZE]) {
    struct hint hint;
    struct view_ref refs[8];
    address[0] = '\0';
    if (attempt <= 1 && id != NULL && hints_find(app->hints, id, &hint)) {
        snprintf(address, SETTINGS_ADDRESS_SIZE, "%s", hint.address);
        return;
    }
    size_t count = ring_view_alive(app->view, refs, 8);
    if (count > 0) {
        snprintf(address, SETTINGS_ADDRESS_SIZE, "%s", refs[attempt % count].address);
    }
}

void kv_hint_keep(struct app *app, const Chord__V1__OwnerHint *hint) {
    struct ring_id lo;
    struct ring_id hi;
    if (hint != NULL && hint->range != NULL && hint->address != NULL &&
        settings_address_valid(hint->address) &&
        id_from_wire(&lo, hint->range->lo.data, hint->range->lo.len) &&
        id_from_wire(&hi, hint->range->hi.data, hint->range->hi.len)) {
        hints_put(app->hints, &lo, &hi, hint->epoch, hint->address);
        if (hint->counter > 0) {
            hints_seen(app->hints, &hi, hint->epoch, hint->counter);
        }
        ring_view_learn(app->view, hint->address);
    }
}

bool kv_code_again(Chord__V1__Code code) {
    return chord_outcome_of_code(code).again != CHORD_AGAIN_NEVER;
}

static struct kv_answer answer_of(enum rpc_method method, const struct rpc_reply *reply) {
    struct kv_answer answer = {.code = reply->code};
    if (reply->code != CHORD__V1__CODE__CODE_OK) {
        return answer;
    }
    const void *response = reply->response;
    if (response == NULL) {
        answer.code = CHORD__V1__CODE__CODE_INTERNAL;
        return answer;
    }
    if (method == RPC_KV_GET) {
        const Chord__V1__GetResponse *get = response;
        answer.result = get->result;
        answer.hint = get->hint;
        answer.missing = get->missing;
        answer.missing_count = get->n_missing;
    } else if (method == RPC_KV_PUT) {
        const Chord__V1__PutResponse *put = response;
        answer.result = put->result;
        answer.hint = put->hint;
        answer.missing = put->missing;
        answer.missing_count = put->n_missing;
    } else {
        const Chord__V1__DeleteResponse *deleted = response;
        answer.result = deleted->result;
        answer.hint = deleted->hint;
        answer.missing = deleted->missing;
        answer.missing_count = deleted->n_missing;
    }
    answer.code = answer.result == NULL ? CHORD__V1__CODE__CODE_INTERNAL : answer.result->code;
    return answer;
}

/* UNKNOWN with a version: the key has been overwritten since, and no attempt can find out more. */
static bool is_final(const struct kv_answer *answer) {
    return answer->code == CHORD__V1__CODE__CODE_UNKNOWN && answer->result != NULL &&
           answer->result->version != NULL && answer->result->version->epoch > 0;
}

/* Whether a write may have taken effect though it was not acknowledged. */
static bool maybe_done(const struct kv_answer *answer, const struct rpc_reply *reply) {
    struct chord_outcome outcome = answer->result != NULL ? chord_outcome_of_code(answer->code)
                                   : reply->code == CHORD__V1__CODE__CODE_OK
                                       ? chord_outcome_unanswered()
                                       : chord_outcome_of_reply(reply);
    return outcome.fate == CHORD_MAYBE_DONE;
}

static void pause_ms(unsigned ms) {
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&wait, NULL);
}

/* One attempt, at whom the cached hint (turn 1) or the members' turn says. */
static struct kv_answer kv_ask(struct app *app, const struct kv_request *kv, unsigned turn,
                               uint32_t timeout_ms, struct rpc_reply *reply) {
    char address[SETTINGS_ADDRESS_SIZE];
    kv_target_find(app, kv->id_known ? &kv->id : NULL, turn, address);
    memset(reply, 0, sizeof(*reply));
    if (address[0] == '\0') {
        reply->code = CHORD__V1__CODE__CODE_UNAVAILABLE;
        reply->local = reply->unsent = true;
        snprintf(reply->message, sizeof(reply->message), "no node of the ring answers");
        return (struct kv_answer){.code = reply->code, .nobody = true};
    }
    rpc_client_call_wait(app->client, address, kv->method, kv->message, timeout_ms, reply);
    struct kv_answer answer = answer_of(kv->method, reply);
    if (reply->code == CHORD__V1__CODE__CODE_OK) {
        kv_hint_keep(app, answer.hint);
    } else if (reply->local || reply->code == CHORD__V1__CODE__CODE_WRONG_RING) {
        hints_forget_address(app->hints, address);
        ring_view_poke(app->view, address);
    }
    return answer;
}

/* ABORTED: nothing was done, since the key is newer than was known. True: now it is known. */
static bool kv_catch_up(struct kv_request *kv, const struct kv_answer *answer) {
    if (answer->code != CHORD__V1__CODE__CODE_ABORTED || answer->result->version == NULL ||
        kv->unknown || kv->operation == NULL || kv->operation->seen == NULL) {
        return false;
    }
    kv->operation->seen->epoch = answer->result->version->epoch;
    kv->operation->seen->counter = answer->result->version->counter;
    return true;
}

/*
 * Until an answer that trying again cannot better, or the time is over. What a node said of missing
 * members is the answer then, rather than the silence of one of those that was asked after it.
 */
struct kv_answer kv_call(struct app *app, struct kv_request *kv, struct rpc_reply *reply) {
    uint64_t began = clock_now_ms();
    uint64_t end = began + KV_BUDGET_MS;
    struct rpc_reply named = {0}; /* the last that named missing members */
    struct kv_answer answer;
    unsigned wait = 50;
    unsigned sent = 0; /* attempts that may have taken effect */
    for (unsigned turn = 1;; turn++) {
        uint64_t now = clock_now_ms();
        uint64_t left = now < end ? end - now : 1;
        if (kv->operation != NULL) {
            kv->operation->attempt = sent + 1;
        }
        answer =
            kv_ask(app, kv, turn, (uint32_t)(left < KV_ATTEMPT_MS ? left : KV_ATTEMPT_MS), reply);
        bool maybe = maybe_done(&answer, reply);
        kv->unknown = kv->unknown || maybe;
        sent += maybe;
        now = clock_now_ms() + wait;
        answer.full =
            kv->operation != NULL && kv_code_again(answer.code) && ring_view_disks_full(app->view);
        if (!kv_code_again(answer.code) || is_final(&answer) || now >= end || answer.full ||
            (answer.nobody && now >= began + KV_NOBODY_MS) || atomic_load(&app->stopping)) {
            break;
        }
        if (kv_catch_up(kv, &answer)) {
            rpc_reply_free(reply);
            turn = 0; /* at once, and whom the answer named */
            continue;
        }
        if (answer.missing_count > 0) {
            rpc_reply_free(&named);
            named = *reply;
        } else {
            rpc_reply_free(reply);
        }
        pause_ms(wait);
        wait = wait < 400 ? wait * 2 : 400;
    }
    if (kv_code_again(answer.code) && !is_final(&answer) && answer.missing_count == 0 &&
        named.response != NULL) {
        rpc_reply_free(reply);
        *reply = named;
        return answer_of(kv->method, reply);
    }
    rpc_reply_free(&named);
    return answer;
}
