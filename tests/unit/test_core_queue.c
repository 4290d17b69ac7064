/* SPDX-License-Identifier: MIT */
/*
 * Who writes a key when many want to: everybody in turn, whoever it is and wherever they ask.
 */
#include "data_fixture.h"

enum { WRITERS = 16, RUN_MS = 1500, WAIT_MS_MOST = 1000 };

struct writer {
    struct host_call *call;
    struct host_operation put;
    uint64_t begun_us, longest_us;
    unsigned done, asked;
};

static void begin(struct host *host, struct writer *writer, unsigned number, uint64_t op_id) {
    writer->put.op_id = op_id;
    writer->put.attempt = 1;
    writer->begun_us = host_now_us(host);
    writer->asked++;
    writer->call = host_batch(host, (int)(number % 5), &writer->put, 1, 3000);
}

/* One key, nothing known of it but what the own last answer said. */
static void test_writers_of_one_key(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        static struct writer writers[WRITERS];
        uint64_t op_id = 0, done = 0, asked = 0;
        memset(writers, 0, sizeof writers);
        for (unsigned i = 0; i < WRITERS; i++) {
            writers[i].put = make(CHORD_PUT, 1, i);
            begin(host, &writers[i], i, ++op_id);
        }
        for (unsigned ms = 0; ms < RUN_MS; ms++) {
            host_run(host, 1);
            for (unsigned i = 0; i < WRITERS; i++) {
                struct writer *writer = &writers[i];
                const struct host_operation *answer = &writer->call->operations[0];
                uint64_t wait_us = host_now_us(host) - writer->begun_us;
                writer->longest_us = wait_us > writer->longest_us ? wait_us : writer->longest_us;
                if (!writer->call->done) {
                    continue;
                }
                check(answer->code == CHORD_OK || answer->code == CHORD_ABORTED);
                writer->done += answer->code == CHORD_OK;
                writer->put.seen_epoch = answer->epoch;
                writer->put.seen_counter = answer->counter;
                begin(host, writer, i, answer->code == CHORD_OK ? ++op_id : writer->put.op_id);
            }
        }
        for (unsigned i = 0; i < WRITERS; i++) {
            done += writers[i].done;
            asked += writers[i].asked;
        }
        for (unsigned i = 0; i < WRITERS; i++) {
            check(writers[i].done * 2 * WRITERS >= done);
            check(writers[i].longest_us < WAIT_MS_MOST * 1000);
        }
        check(asked * 10 <= (done + WRITERS) * 11);
        print_message("%llu writes of one key in %d ms\n", (unsigned long long)done, RUN_MS);
        ring_free(host);
    }
}

/* Readers of a key that is always being written get their turn as well. */
static void test_readers_among_writers(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        static struct writer writers[WRITERS];
        struct host_call *read = NULL;
        uint64_t op_id = 0;
        unsigned reads = 0;
        memset(writers, 0, sizeof writers);
        for (unsigned ms = 0; ms < RUN_MS; ms++) {
            for (unsigned i = 0; i < WRITERS; i++) {
                if (writers[i].call == NULL || writers[i].call->done) {
                    writers[i].put = make(CHORD_PUT, 1, i);
                    begin(host, &writers[i], i, ++op_id);
                }
            }
            if (read == NULL || read->done) {
                check(read == NULL || read->operations[0].code == CHORD_OK || reads == 0);
                reads += read != NULL;
                read = one(host, 2, CHORD_GET, 1, 0, 3000);
            }
            check(host_now_us(host) - read->started_us < WAIT_MS_MOST * 1000);
            host_run(host, 1);
        }
        check(reads > RUN_MS / 200);
        ring_free(host);
    }
}

/* Batches that want two keys in either order wait for each other, and not for ever. */
static void test_two_keys_in_either_order(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        struct host_call *calls[8] = {NULL};
        unsigned done[8] = {0};
        for (unsigned ms = 0; ms < RUN_MS; ms++) {
            for (unsigned i = 0; i < 8; i++) {
                struct host_operation both[] = {make(CHORD_PUT, i % 2, i),
                                                make(CHORD_PUT, 1 - i % 2, i)};
                if (calls[i] == NULL || calls[i]->done) {
                    done[i] += calls[i] != NULL && calls[i]->operations[0].code == CHORD_OK &&
                               calls[i]->operations[1].code == CHORD_OK;
                    calls[i] = host_batch(host, (int)(i % 5), both, 2, 3000);
                }
            }
            host_run(host, 1);
        }
        for (unsigned i = 0; i < 8; i++) {
            check(done[i] > RUN_MS / 200);
        }
        ring_free(host);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_writers_of_one_key, teardown),
        cmocka_unit_test_teardown(test_readers_among_writers, teardown),
        cmocka_unit_test_teardown(test_two_keys_in_either_order, teardown),
    };
    seeds_choose("test_core_queue", 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
