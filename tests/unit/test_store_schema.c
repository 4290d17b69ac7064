/* SPDX-License-Identifier: MIT */
/*
 * A database that the program cannot understand: of a later version, of another program, with a
 * record of an unknown form. The node does not start, says what it found, and changes nothing; with
 * the record as it was, the same file opens again.
 */
#include "hash.h"
#include "store_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <sqlite3.h>

static struct fixture fixture;

static void run_job(struct store_job *job) {
    fixture_run(&fixture, job);
    assert_true(job->ok);
    store_job_free(job);
}

/* A member's database with one view and what it accepted as the next, closed. */
static int set_up(void **state) {
    struct chord_identity identity;
    struct chord_stored_view view;
    (void)state;
    fixture_new(&fixture);
    fixture_reopen(&fixture);
    memset(&identity, 0, sizeof identity);
    identity.incarnation = 5;
    identity.parameters = (struct chord_parameters){.m = 6, .n = 3, .replicas = 3};
    identity.known_count = 2;
    struct store_job *job = store_job_new(STORE_JOB_IDENTITY);
    job->identity = &identity;
    run_job(job);
    memset(&view, 0, sizeof view);
    view.view.range = whole_ring();
    view.view.epoch = 4;
    view.view.members_count = 2;
    view.view.merges.count = 1;
    view.acceptor.promised = 64;
    view.acceptor.accepted = true;
    view.acceptor.ballot = 64;
    view.acceptor.next = view.view;
    job = store_job_new(STORE_JOB_VIEWS);
    job->views = &view;
    job->views_count = 1;
    run_job(job);
    assert_true(write_keys(&fixture, 0, 20, 4, 1, 30));
    fixture_close(&fixture);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    fixture_free(&fixture);
    return 0;
}

static void file_path(const char *name, char path[200]) {
    snprintf(path, 200, "%s/%s", fixture.directory, name);
}

static void file_digest(uint8_t digest[EVP_MAX_MD_SIZE]) {
    static uint8_t bytes[1 << 22];
    char path[200];
    file_path("chord.db", path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_true(count > 0 && count < sizeof bytes);
    assert_int_equal(EVP_Digest(bytes, count, digest, NULL, EVP_sha256(), NULL), 1);
}

static void change(const char *sql) {
    char path[200];
    char *error = NULL;
    sqlite3 *db;
    file_path("chord.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK) {
        fail_msg("%s: %s", sql, error);
    }
    sqlite3_close(db);
}

static void assert_refused(const char *word) {
    uint8_t before[EVP_MAX_MD_SIZE], after[EVP_MAX_MD_SIZE];
    char path[200];
    file_digest(before);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(fixture_open(&fixture), STORE_UNKNOWN_SCHEMA);
        if (strstr(fixture.reason, word) == NULL || strstr(fixture.reason, "chord.db: ") == NULL) {
            fail_msg("no \"%s\" in: %s", word, fixture.reason);
        }
    }
    file_digest(after);
    assert_memory_equal(before, after, 32);
    file_path("chord.db.corrupt", path);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void assert_whole(void) {
    if (fixture_open(&fixture) != STORE_OK) {
        fail_msg("%s", fixture.reason);
    }
    assert_int_equal(fixture.identity.incarnation, 5);
    assert_int_equal(fixture.views_count, 1);
    assert_int_equal(fixture.views[0].acceptor.promised, 64);
    assert_true(has_key(&fixture, 7, 4, 1));
    fixture_close(&fixture);
}

static void test_a_file_of_the_future(void **state) {
    char sql[100], found[40];
    (void)state;
    for (int more = 1; more < 2000; more += 999) {
        snprintf(sql, sizeof sql, "PRAGMA user_version=%d", STORE_SCHEMA_VERSION + more);
        snprintf(found, sizeof found, "schema %d", STORE_SCHEMA_VERSION + more);
        change(sql);
        assert_refused(found);
    }
    change("PRAGMA user_version=-3");
    assert_refused("schema -3");
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d", STORE_SCHEMA_VERSION);
    change(sql);
    assert_whole();
}

static void test_a_database_of_another_program(void **state) {
    (void)state;
    char path[200];
    file_path("chord.db", path);
    assert_int_equal(unlink(path), 0);
    change("CREATE TABLE songs (title TEXT)");
    assert_refused("not that of a Chord node");
}

/* Kinds as they are on disk: FORMAT.md. */
static const char *const records[] = {"store_id", "identity", "place", "former"};
enum { RECORDS = sizeof records / sizeof records[0] };

static const char *const forms[] = {"substr(record, 1, length(record) - 1)",
                                    "CAST(record || x'00' AS BLOB)",
                                    "x''",
                                    "x'01'",
                                    "zeroblob(100000)",
                                    "CAST(x'02' || substr(record, 2) AS BLOB)"};
enum { FORMS = sizeof forms / sizeof forms[0] };

static void test_records_of_unknown_form(void **state) {
    char sql[300];
    (void)state;
    for (unsigned i = 0; i < RECORDS; i++) {
        for (unsigned k = 0; k < FORMS; k++) {
            snprintf(sql, sizeof sql,
                     "CREATE TABLE kept AS SELECT * FROM records;"
                     "UPDATE records SET record = %s WHERE kind = %u",
                     forms[k], i + 1);
            change(sql);
            assert_refused(records[i]);
            change("DELETE FROM records; INSERT INTO records SELECT * FROM kept; DROP TABLE kept");
        }
    }
    change("INSERT INTO records VALUES (99, x'0102')");
    assert_refused("kind 99");
    change("DELETE FROM records WHERE kind = 99");
    assert_whole();
}

static void test_a_missing_record(void **state) {
    char sql[300];
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        snprintf(sql, sizeof sql,
                 "CREATE TABLE kept AS SELECT * FROM records; DELETE FROM records WHERE kind = %u",
                 i + 1);
        change(sql);
        assert_refused(records[i]);
        change("DELETE FROM records; INSERT INTO records SELECT * FROM kept; DROP TABLE kept");
    }
    assert_whole();
}

/* With a right checksum, as somebody writes them who means it. */
static void test_fields_that_no_ring_has(void **state) {
    const struct chord_identity right = {.incarnation = 5,
                                         .parameters = {.m = 6, .n = 3, .replicas = 3}};
    struct chord_identity wrong[6];
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        wrong[i] = right;
    }
    wrong[0].parameters.m = 161;
    wrong[1].parameters.n = 0;
    wrong[2].parameters.replicas = 5;
    wrong[3].incarnation = 0;
    wrong[4].incarnation = UINT64_MAX;
    wrong[5].id = small_id(64);
    change("CREATE TABLE kept AS SELECT * FROM records");
    for (unsigned i = 0; i < 6; i++) {
        fixture_reopen(&fixture);
        struct store_job *job = store_job_new(STORE_JOB_IDENTITY);
        job->identity = &wrong[i];
        run_job(job);
        fixture_close(&fixture);
        assert_refused("\"identity\" has a field that is out of its bounds");
        change("DELETE FROM records; INSERT INTO records SELECT * FROM kept");
    }
    struct chord_stored_view view = {.view = {.epoch = 4, .members_count = 1}};
    view.view.range.hi = small_id(64);
    fixture_reopen(&fixture);
    struct store_job *job = store_job_new(STORE_JOB_VIEWS);
    job->views = &view;
    job->views_count = 1;
    run_job(job);
    fixture_close(&fixture);
    assert_refused("\"view\" has a field that is out of its bounds");
}

/* It would run whenever this program writes, and might never end. */
static void test_sql_that_a_file_brings_along(void **state) {
    (void)state;
    change("CREATE TRIGGER large_value_gone AFTER INSERT ON records BEGIN"
           " INSERT INTO large_values (value) WITH RECURSIVE more(x) AS"
           " (SELECT 1 UNION ALL SELECT x + 1 FROM more) SELECT x'00' FROM more; END");
    assert_refused("a trigger or a view that no Chord node has made");
    change("DROP TRIGGER large_value_gone; ALTER TABLE views RENAME TO kept;"
           "CREATE VIEW views AS SELECT * FROM kept");
    assert_refused("a trigger or a view that no Chord node has made");
    change("DROP VIEW views; ALTER TABLE kept RENAME TO views");
    assert_whole();
}

static void test_views_of_unknown_form(void **state) {
    char sql[300];
    (void)state;
    for (unsigned k = 0; k < FORMS; k++) {
        snprintf(sql, sizeof sql,
                 "CREATE TABLE kept AS SELECT * FROM views; UPDATE views SET record = %s",
                 forms[k]);
        change(sql);
        assert_refused("view");
        change("DELETE FROM views; INSERT INTO views SELECT * FROM kept; DROP TABLE kept");
    }
    assert_whole();
}

/* Each size of each record of the schema before, as an upgrade meets it. */
static void test_schema_6_of_unknown_form(void **state) {
    static const char *const changes[] = {
        "UPDATE meta SET value = x'' WHERE name = 'store_id'",
        "UPDATE meta SET value = substr(value, 2) WHERE name = 'identity'",
        "UPDATE meta SET value = CAST(value || x'00' AS BLOB) WHERE name = 'place'",
        "UPDATE meta SET value = zeroblob(100000) WHERE name = 'former'",
        "UPDATE views SET members = x'0102'",
        "UPDATE views SET members = zeroblob(80 * 34)",
        "UPDATE views SET merges = zeroblob(33)",
        "UPDATE views SET lo = x''",
        "UPDATE accepted SET members = zeroblob(79)",
        "UPDATE accepted SET merges = zeroblob(32 * 5)",
        "UPDATE accepted SET hi = zeroblob(21)",
        "UPDATE accepted SET of_lo = zeroblob(20), of_hi = zeroblob(20)",
        "DELETE FROM meta WHERE name = 'store_id'",
        "DELETE FROM meta WHERE name = 'identity'",
    };
    static const char *const words[] = {"store_id", "identity", "place",    "former",   "views",
                                        "views",    "views",    "views",    "accepted", "accepted",
                                        "accepted", "accepted", "store_id", "identity"};
    (void)state;
    for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        golden_copy(&fixture, 6);
        change(changes[i]);
        assert_refused(words[i]);
        assert_int_equal(golden_schema(&fixture, "chord.db"), 6);
        char path[200];
        file_path("chord.db.before-upgrade", path);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

int main(void) {
    if (!hash_open()) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_file_of_the_future, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_database_of_another_program, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_of_unknown_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_missing_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fields_that_no_ring_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sql_that_a_file_brings_along, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_views_of_unknown_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_schema_6_of_unknown_form, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
