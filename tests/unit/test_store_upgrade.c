/* SPDX-License-Identifier: MIT */
/*
 * The golden databases: that of each schema opens, becomes one of today's, and is used; a step back
 * gives the schema before with everything as it was.
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
#include <sqlite3.h>

static struct fixture fixture;
static const char kept[] = "chord.db.before-upgrade";

static int set_up(void **state) {
    (void)state;
    fixture_new(&fixture);
    fixture.moved = true; /* the golden files were made elsewhere */
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    fixture_free(&fixture);
    return 0;
}

static bool exists(const char *name) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", fixture.directory, name);
    return access(path, F_OK) == 0;
}

static void use_it(void) {
    assert_true(write_keys(&fixture, 1000, 10, 9, 1, 30));
    fixture_reopen(&fixture);
    assert_true(has_key(&fixture, 1005, 9, 1));
}

static void test_a_golden_file_opens_and_is_used(void **state) {
    (void)state;
    for (int schema = 6; schema <= STORE_SCHEMA_VERSION; schema++) {
        golden_copy(&fixture, schema);
        fixture_reopen(&fixture);
        golden_check(&fixture);
        fixture_reopen(&fixture);
        golden_check(&fixture);
        fixture_close(&fixture);
        assert_int_equal(golden_schema(&fixture, "chord.db"), STORE_SCHEMA_VERSION);
        fixture_reopen(&fixture);
        use_it();
        fixture_close(&fixture);
    }
}

static void submit_identity(void) {
    struct store_job *job = store_job_new(STORE_JOB_IDENTITY);
    struct chord_identity identity = fixture.identity;
    job->identity = &identity;
    fixture_run(&fixture, job);
    assert_true(job->ok);
    store_job_free(job);
}

static void test_the_copy_goes_when_the_store_serves(void **state) {
    (void)state;
    golden_copy(&fixture, 6);
    fixture_reopen(&fixture);
    submit_identity(); /* says nothing that others rely on */
    assert_true(exists(kept));
    fixture_close(&fixture);
    assert_int_equal(golden_schema(&fixture, kept), 6);
    fixture_reopen(&fixture); /* it has not served yet */
    assert_true(exists(kept));
    assert_true(write_keys(&fixture, 1000, 1, 9, 1, 30));
    assert_false(exists(kept));
    assert_false(exists("chord.db.before-upgrade.part"));
}

/* Back to the bytes of before, but for where the file was last. */
static void step_back(int schema, const char *const same[], unsigned count) {
    char reason[300], said[20];
    golden_copy(&fixture, schema);
    fixture.moved = true;
    fixture_reopen(&fixture);
    fixture_close(&fixture);
    snprintf(said, sizeof said, "schema %d", schema);
    assert_int_equal(store_downgrade(fixture.directory, schema, reason, sizeof reason), STORE_OK);
    assert_non_null(strstr(reason, said));
    assert_int_equal(golden_schema(&fixture, "chord.db"), schema);
    assert_false(exists(kept));
    for (unsigned i = 0; i < count; i++) {
        char ours[200], golden[200], sql[2000];
        snprintf(ours, sizeof ours, same[i], "main");
        snprintf(golden, sizeof golden, same[i], "golden");
        snprintf(sql, sizeof sql,
                 "ATTACH '" GOLDEN_FOLDER "/schema-%d.db' AS golden;"
                 "SELECT (SELECT count(*) FROM (SELECT * FROM %s EXCEPT SELECT * FROM %s))"
                 " + (SELECT count(*) FROM (SELECT * FROM %s EXCEPT SELECT * FROM %s))"
                 " + 1000 * (SELECT count(*) = 0 FROM %s)",
                 schema, ours, golden, golden, ours, ours);
        assert_int_equal(fixture_sql(&fixture, sql, SQLITE_OK), 0);
    }
    assert_int_equal(store_downgrade(fixture.directory, schema, reason, sizeof reason), STORE_OK);
    fixture.moved = false; /* it is the same file in the same place */
    fixture_reopen(&fixture);
    golden_check(&fixture);
    use_it();
    fixture_close(&fixture);
    assert_int_equal(store_downgrade(fixture.directory, schema, reason, sizeof reason), STORE_OK);
    fixture_reopen(&fixture);
    assert_true(has_key(&fixture, 1005, 9, 1));
    fixture_close(&fixture);
}

static void test_one_step_back(void **state) {
    static const char rows[] = "(SELECT * FROM %s.rows)";
    static const char forms[] =
        "(SELECT type, name, tbl_name, replace(sql, 'IF NOT EXISTS ', '') FROM %s.sqlite_schema)";
    static const char *const same_6[] = {
        "(SELECT * FROM %s.meta WHERE name IN ('store_id', 'identity'))",
        "(SELECT * FROM %s.views)",
        "(SELECT * FROM %s.accepted)",
        "(SELECT name, length(value) FROM %s.meta)",
        rows,
        forms,
    };
    static const char *const same_7[] = {
        "(SELECT * FROM %s.records WHERE kind IN (1, 2))",
        "(SELECT * FROM %s.views)",
        "(SELECT kind FROM %s.records)",
        rows,
        forms,
    };
    (void)state;
    step_back(6, same_6, sizeof same_6 / sizeof same_6[0]);
    step_back(7, same_7, sizeof same_7 / sizeof same_7[0]);
}

static void test_a_step_back_is_refused(void **state) {
    char reason[300];
    (void)state;
    assert_int_equal(store_downgrade(fixture.directory, 6, reason, sizeof reason), STORE_UNUSABLE);
    assert_false(exists("chord.db"));
    golden_copy(&fixture, 6);
    fixture_sql(&fixture, "PRAGMA user_version=5", SQLITE_OK);
    assert_int_equal(store_downgrade(fixture.directory, 6, reason, sizeof reason), STORE_UNUSABLE);
    fixture_sql(&fixture, "PRAGMA user_version=99", SQLITE_OK);
    assert_int_equal(store_downgrade(fixture.directory, 6, reason, sizeof reason),
                     STORE_UNKNOWN_SCHEMA);
    fixture_sql(&fixture, "PRAGMA user_version=6", SQLITE_OK);
    fixture_reopen(&fixture);
    assert_int_equal(store_downgrade(fixture.directory, 6, reason, sizeof reason), STORE_LOCKED);
}

/* Programs of schema 6 opened everything and stamped it: they begin with this statement. */
static void test_a_program_of_schema_6_ends_at_once(void **state) {
    (void)state;
    golden_copy(&fixture, STORE_SCHEMA_VERSION);
    fixture_sql(
        &fixture,
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT",
        SQLITE_ERROR);
    fixture_reopen(&fixture);
    golden_check(&fixture);
}

/* Files from before a row kept what its writer was told (version 5). */
static void test_schema_4(void **state) {
    (void)state;
    golden_copy(&fixture, 6);
    fixture_sql(
        &fixture,
        "DELETE FROM rows WHERE existed <> 0;"
        "ALTER TABLE rows DROP COLUMN existed;"
        "ALTER TABLE views DROP COLUMN moved;"
        "ALTER TABLE accepted DROP COLUMN moved; DROP INDEX tombstones; PRAGMA user_version=4",
        SQLITE_OK);
    fixture_reopen(&fixture);
    assert_true(has_key(&fixture, 1, 6, 101)); /* its checksum was its own, without the column */
    assert_int_equal(fixture.views_count, 3);
    assert_false(fixture.views[1].view.moved);
    use_it();
}

int main(void) {
    if (!hash_open()) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_golden_file_opens_and_is_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_copy_goes_when_the_store_serves, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_one_step_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_step_back_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_program_of_schema_6_ends_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_schema_4, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
