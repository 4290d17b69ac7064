/* SPDX-License-Identifier: MIT */
/*
 * The simulator copies a message as far as tests/sim/core_host_network.c says for its kind. A field
 * behind that would be 0 in every simulated ring, and nothing would fail. So each message that has
 * a row for each field (test_wire_table.c) is sent as a parcel.
 */
#include "wire_fixture.h"

#include "core_host_state.h"

static void check(const struct wire_table *table, const void *sent, const struct parcel *parcel) {
    /* A copy that is too short is found here, or by the address sanitizer. */
    const char *field = wire_walk_differ(table, sent, parcel->message);
    if (field != NULL) {
        fail_msg("%s of %s does not travel in the simulator: see request_bytes and response_bytes",
                 field, table->descriptor->name);
    }
}

static void test_every_field_travels(void **state) {
    static struct chord_request request;
    static struct chord_response response;
    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned number = CHORD_PING; number <= KINDS; number++) {
            enum chord_message_kind kind = (enum chord_message_kind)number;
            if (has_request(kind)) {
                some_request(&request, kind, 32);
                struct parcel *parcel = parcel_request(&request);
                check(&wire_messages[kind].request, &request, parcel);
                parcel_free(parcel);
            }
            if (has_response(kind)) {
                some_response(&response, kind, 32, NULL, 0);
                struct parcel *parcel = parcel_response(&response);
                check(&wire_messages[kind].response, &response, parcel);
                parcel_free(parcel);
            }
            arena_reset(&arena);
        }
    }
}

int main(void) {
    if (!wire_fixture_open("test_sim_parcels")) {
        return 1;
    }
    const struct CMUnitTest tests[] = {TEST(test_every_field_travels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
