/*
 * A database that the program cannot understand: of a later version, of another program, with a
 * record of an unknown form. The node does not start, says what it found, and changes nothing; with
 * the record as it was, the same file opens again.
 */
#include "hash.h"
#include "store_fixture.h"

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
    assert_refused("another program");
}

static void test_records_of_unknown_size(void **state) {
    static const char *const records[] = {"store_id", "identity", "place", "former"};
    static const char *const forms[] = {"substr(value, 1, length(value) - 1)",
                                        "CAST(value || x'00' AS BLOB)", "x''", "zeroblob(100000)"};
    char sql[300];
    (void)state;
    for (unsigned i = 0; i < sizeof records / sizeof records[0]; i++) {
        for (unsigned k = 0; k < sizeof forms / sizeof forms[0]; k++) {
            snprintf(sql, sizeof sql,
                     "CREATE TABLE kept AS SELECT * FROM meta;"
                     "UPDATE meta SET value = %s WHERE name = '%s'",
                     forms[k], records[i]);
            change(sql);
            assert_refused(records[i]);
            change("DELETE FROM meta; INSERT INTO meta SELECT * FROM kept; DROP TABLE kept");
        }
    }
    assert_whole();
}

static void test_a_missing_record(void **state) {
    static const char *const records[] = {"store_id", "identity"};
    char sql[300];
    (void)state;
    for (unsigned i = 0; i < sizeof records / sizeof records[0]; i++) {
        snprintf(sql, sizeof sql,
                 "CREATE TABLE kept AS SELECT * FROM meta; DELETE FROM meta WHERE name = '%s'",
                 records[i]);
        change(sql);
        assert_refused(records[i]);
        change("DELETE FROM meta; INSERT INTO meta SELECT * FROM kept; DROP TABLE kept");
    }
    assert_whole();
}

static void test_views_of_unknown_size(void **state) {
    static const char *const tables[] = {"views", "accepted"};
    static const char *const columns[] = {"members", "merges", "lo", "hi"};
    static const char *const forms[] = {"x'0102'", "zeroblob(length(members) + 1)",
                                        "zeroblob(100000)"};
    char sql[300];
    (void)state;
    for (unsigned t = 0; t < 2; t++) {
        for (unsigned c = 0; c < 4; c++) {
            for (unsigned f = 0; f < 3; f++) {

                snprintf(sql, sizeof sql,
                         "CREATE TABLE kept AS SELECT * FROM %s; UPDATE %s SET %s = %s", tables[t],
                         tables[t], columns[c], forms[f]);
                change(sql);
                assert_refused(tables[t]);
                snprintf(sql, sizeof sql,
                         "DELETE FROM %s; INSERT INTO %s SELECT * FROM kept; DROP TABLE kept",
                         tables[t], tables[t]);
                change(sql);
            }
        }
    }
    assert_whole();
}

int main(void) {
    if (!hash_open()) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_file_of_the_future, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_database_of_another_program, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_of_unknown_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_missing_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_views_of_unknown_size, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
