/* SPDX-License-Identifier: MIT */
/*
 * chord-sim: rings in one process, in virtual time, under every fault there is. Each run is a plan
 * (plan.h) and can be repeated: by its seed, or from the text that a violation prints.
 */
#include "experiment.h"
#include "run.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    EXIT_VIOLATION = 1,
    EXIT_USAGE = 2,
    WIRE_ONE_IN = 8,
    PLACES_BY_HASH_ONE_IN = 3, /* as in the scenarios, which know where the hash puts a node */
};

static const char usage[] =
    "usage: chord-sim [options]              one ring, by its seed\n"
    "       chord-sim --seeds A..B [options] many\n"
    "       chord-sim FILE...                scenarios and plans that a violation has printed\n"
    "\n"
    "  --seed S             the run's seed (1)\n"
    "  --nodes K | K..L     nodes at the start (5..64)\n"
    "  --m M, --n N         identifier bits, successors kept (chosen by the seed)\n"
    "  --minutes T          of faults, in virtual time (1)\n"
    "  --churn R            joins, leaves, crashes and returns per node and minute (1)\n"
    "  --faults KIND        none: churn only; mild: also what the proof allows (doubled messages,\n"
    "                       clocks, disks); all: also pauses, cuts, partitions, losses, failing\n"
    "                       disks. `all` lets every fourth seed be mild, so that the invariant is\n"
    "                       checked for whole runs too (all)\n"
    "  --rate R             faults per minute (12)\n"
    "  --data               keep ranges too, not only the ring\n"
    "  --clients C          as many clients read and write --keys K (24) all the time, on rings "
    "of\n"
    "                       4..12 nodes that lose at most a minority of the copies; histories are "
    "checked\n"
    "  --history FILE       what the clients were told of a key that is wrong\n"
    "  --measure            one ring of exactly --nodes (M 64, N 3): hops, load, maintenance; "
    "with\n"
    "                       --lookups L (10000), --fail PERCENT at once, --quiet SECONDS (10),\n"
    "                       --slower K: maintenance K times as seldom (1)\n"
    "  --plan               print the plan and do not run it\n"
    "  --trace              print the core's trace words\n"
    "  --ring-trace FILE    write each change of the ring, for the model's rules\n"
    "  --stop               at the first violation\n"
    "  --no-shrink          print a violation's plan as it was\n"
    "  --wire               each message passes through the real encode and decode; else every\n"
    "                       eighth seed's do\n"
    "  --json               the summary as one JSON object\n"
    "Exit code: 0 all held, 1 a violation, 2 wrong options.\n";

struct settings {
    uint64_t seed_first, seed_last;
    struct plan_profile profile;
    unsigned clients, keys;
    bool wire;
    bool mild, all, data, plan_only, shrink, json, measure, stop;
    struct experiment experiment;
    struct run_options run;
};

struct totals {
    uint64_t runs, violations, steps, proof_steps, messages, orders, suspicions, lookups;
    uint64_t simulated_us, heal_us_max, heal_us_sum, digest, healed;
    struct workload_counts clients;
};

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void add(struct totals *totals, const struct run_result *result) {
    totals->runs++;
    totals->violations += result->violation[0] != '\0';
    totals->steps += result->steps;
    totals->proof_steps += result->proof_steps;
    totals->messages += result->messages;
    totals->orders += result->orders;
    totals->suspicions += result->suspicions;
    totals->lookups += result->lookups;
    totals->clients.reads += result->clients.reads;
    totals->clients.acknowledged += result->clients.acknowledged;
    totals->clients.refused += result->clients.refused;
    totals->clients.unknown += result->clients.unknown;
    totals->clients.failed += result->clients.failed;
    totals->clients.retries += result->clients.retries;
    totals->clients.copies += result->clients.copies;
    totals->clients.given_up += result->clients.given_up;
    totals->simulated_us += result->simulated_us;
    totals->digest = (totals->digest ^ result->digest) * 0x9e3779b97f4a7c15u;
    if (result->healed) {
        totals->healed++;
        totals->heal_us_sum += result->heal_us;
        totals->heal_us_max =
            result->heal_us > totals->heal_us_max ? result->heal_us : totals->heal_us_max;
    }
}

static void print_totals(const struct totals *totals, bool json, double seconds) {
    double periods = (double)chord_timing_default.stabilize_period_ms * 1000;
    double mean = totals->healed > 0 ? (double)totals->heal_us_sum / (double)totals->healed : 0;
    printf(json ? "{\"runs\": %" PRIu64 ", \"violations\": %" PRIu64 ", \"steps\": %" PRIu64
                  ", \"proof_steps\": %" PRIu64 ", \"messages\": %" PRIu64 ", \"orders\": %" PRIu64
                  ", \"suspicions\": %" PRIu64 ", \"lookups\": %" PRIu64
                  ", \"simulated_hours\": %.2f, \"heal_periods_mean\": %.1f, "
                  "\"heal_periods_max\": %.1f, \"reads\": %" PRIu64 ", \"acknowledged\": %" PRIu64
                  ", \"unknown\": %" PRIu64 ", \"histories_given_up\": %" PRIu64
                  ", \"digest\": \"%016" PRIx64 "\", \"seconds\": %.1f}\n"
                : "%" PRIu64 " runs, %" PRIu64 " violations; %" PRIu64 " steps, %" PRIu64
                  " of them under the proof's assumptions; %" PRIu64 " messages, %" PRIu64
                  " orders, %" PRIu64 " false suspicions, %" PRIu64
                  " lookups; %.2f simulated hours;\nideal again after %.1f stabilize periods "
                  "(mean), %.1f (most); %" PRIu64 " reads and %" PRIu64
                  " writes acknowledged, %" PRIu64 " writes unknown, %" PRIu64
                  " histories too long to check; digest %016" PRIx64 "; %.1f s\n",
           totals->runs, totals->violations, totals->steps, totals->proof_steps, totals->messages,
           totals->orders, totals->suspicions, totals->lookups,
           (double)totals->simulated_us / 3600e6, mean / periods,
           (double)totals->heal_us_max / periods, totals->clients.reads,
           totals->clients.acknowledged, totals->clients.unknown, totals->clients.given_up,
           totals->digest, seconds);
}

static void report(struct plan *plan, struct run_result *result, bool shrink, const char *how) {
    printf("VIOLATION at %.3f s: %s\n", (double)result->violation_us / 1e6, result->violation);
    printf("replay: chord-sim %s\n", how);
    if (shrink) {
        run_shrink(plan, result, stderr);
    }
    printf("the shortest plan that shows it (%s), to be run with chord-sim FILE:\n",
           result->violation);
    plan_print(plan, stdout);
    fflush(stdout);
}

static void plan_of_seed(const struct settings *settings, uint64_t seed, struct plan *plan) {
    struct plan_profile profile = settings->profile;
    profile.wipes_living = settings->clients > 0;
    profile.copies = settings->clients > 0;
    profile.suspicion = settings->all && seed % 4 != 0;
    if (!settings->mild && !settings->all) {
        profile.faults_per_minute = 0;
    }
    plan_random(plan, seed, &profile);
    plan->data = settings->data;
    plan->clients = settings->clients;
    plan->keys = settings->keys;
    plan->wire = settings->wire || seed % WIRE_ONE_IN == 0;
    plan->places_evenly = seed % PLACES_BY_HASH_ONE_IN != 0;
}

static void how_to_replay(const struct settings *settings, uint64_t seed, char *text,
                          size_t bytes) {
    const struct plan_profile *profile = &settings->profile;
    char clients[64] = "";
    if (settings->clients > 0) {
        snprintf(clients, sizeof clients, " --clients %u --keys %u", settings->clients,
                 settings->keys);
    }
    snprintf(text, bytes,
             "--seed %" PRIu64 " --nodes %u..%u%s%s --minutes %g --churn %g --rate %g "
             "--faults %s --m %u --n %u",
             seed, profile->nodes_min, profile->nodes_max, settings->data ? " --data" : "", clients,
             profile->minutes, profile->churn_per_minute, profile->faults_per_minute,
             settings->all    ? "all"
             : settings->mild ? "mild"
                              : "none",
             profile->m, profile->n);
}

static void run_seeds(const struct settings *settings, struct totals *totals) {
    double began = seconds_now(), told = began;
    for (uint64_t seed = settings->seed_first; seed <= settings->seed_last; seed++) {
        struct plan plan;
        struct run_result result;
        plan_of_seed(settings, seed, &plan);
        if (settings->plan_only) {
            plan_print(&plan, stdout);
            plan_free(&plan);
            continue;
        }
        run_plan(&plan, &settings->run, &result);
        add(totals, &result);
        if (result.violation[0] != '\0') {
            char how[256];
            how_to_replay(settings, seed, how, sizeof how);
            report(&plan, &result, settings->shrink, how);
            if (settings->stop) {
                plan_free(&plan);
                return;
            }
        }
        plan_free(&plan);
        if (seconds_now() - told > 5) {
            told = seconds_now();
            fprintf(
                stderr,
                "seed %" PRIu64 " of %" PRIu64 "..%" PRIu64 ", %" PRIu64 " violations, %.0f s\n",
                seed, settings->seed_first, settings->seed_last, totals->violations, told - began);
        }
    }
}

static bool run_file(const struct settings *settings, const char *path, struct totals *totals) {
    char error[200];
    struct plan plan;
    struct run_result result;
    FILE *in = fopen(path, "r");
    if (in == NULL || !plan_read(&plan, in, error)) {
        fprintf(stderr, "chord-sim: %s: %s\n", path, in == NULL ? "cannot be read" : error);
        if (in != NULL) {
            fclose(in);
        }
        return false;
    }
    fclose(in);
    plan.wire = plan.wire || settings->wire;
    run_plan(&plan, &settings->run, &result);
    add(totals, &result);
    if (result.violation[0] == '\0') {
        printf("ok %s: digest %016" PRIx64 "\n", path, result.digest);
    } else {
        printf("not ok %s: at %.3f s: %s\n", path, (double)result.violation_us / 1e6,
               result.violation);
    }
    plan_free(&plan);
    return true;
}

static int measure(const struct settings *settings) {
    struct experiment experiment = settings->experiment;
    struct experiment_result result;
    double began = seconds_now();
    experiment.seed = settings->seed_first;
    experiment.nodes = settings->profile.nodes_max;
    experiment.m = settings->profile.m > 0 ? settings->profile.m : 64;
    experiment.n = settings->profile.n > 0 ? settings->profile.n : 3;
    experiment.verbose = !settings->json;
    experiment_run(&experiment, &result);
    experiment_print(&experiment, &result, seconds_now() - began, stdout);
    return result.violation != NULL ? EXIT_VIOLATION : 0;
}

/* ---- options ---- */

static bool whole(const char *text, uint64_t *low, uint64_t *high) {
    char *end;
    *low = strtoull(text, &end, 10);
    *high = *low;
    if (end != text && strncmp(end, "..", 2) == 0) {
        text = end + 2;
        *high = strtoull(text, &end, 10);
    }
    return end != text && *end == '\0' && *low <= *high;
}

static bool within(uint64_t low, uint64_t high, uint64_t least, uint64_t most) {
    return low >= least && high <= most;
}

static bool option(struct settings *settings, int key, const char *value) {
    struct plan_profile *profile = &settings->profile;
    uint64_t low = 0, high = 0;
    char *end;
    switch (key) {
    case 's':
        return whole(value, &settings->seed_first, &settings->seed_last);
    case 'k':
        profile->nodes_min = (unsigned)(whole(value, &low, &high) ? low : 0);
        profile->nodes_max = (unsigned)high;
        return within(low, high, 1, HOST_NODES_MAX / 2);
    case 'm':
        profile->m = (unsigned)(whole(value, &low, &high) ? low : 1);
        return low == 0 || within(low, high, CHORD_M_MIN, CHORD_M_MAX);
    case 'n':
        profile->n = (unsigned)(whole(value, &low, &high) ? low : 100);
        return within(low, high, 0, CHORD_SUCCESSORS_MAX);
    case 't':
        profile->minutes = strtod(value, &end);
        return *end == '\0' && profile->minutes >= 0 && profile->minutes <= 10000;
    case 'c':
        profile->churn_per_minute = strtod(value, &end);
        return *end == '\0' && profile->churn_per_minute >= 0 && profile->churn_per_minute <= 1000;
    case 'r':
        profile->faults_per_minute = strtod(value, &end);
        return *end == '\0' && profile->faults_per_minute >= 0 &&
               profile->faults_per_minute <= 10000;
    case 'f':
        settings->all = strcmp(value, "all") == 0;
        settings->mild = strcmp(value, "mild") == 0;
        return settings->all || settings->mild || strcmp(value, "none") == 0;
    case 'R':
        settings->run.ring_trace = fopen(value, "w");
        return settings->run.ring_trace != NULL;
    case 'M':
        settings->measure = true;
        return true;
    case 'l':
        settings->experiment.lookups = (unsigned)(whole(value, &low, &high) ? low : 0);
        return within(low, high, 0, 100000000);
    case 'F':
        settings->experiment.fail_percent = (unsigned)(whole(value, &low, &high) ? low : 100);
        return within(low, high, 0, 90);
    case 'w':
        settings->experiment.slower = (unsigned)(whole(value, &low, &high) ? low : 0);
        return within(low, high, 1, 1000);
    case 'q':
        settings->experiment.quiet_s = (unsigned)(whole(value, &low, &high) ? low : 0);
        return within(low, high, 0, 100000);
    case 'd':
        settings->data = true;
        return true;
    case 'C':
        settings->data = true;
        settings->clients = (unsigned)(whole(value, &low, &high) ? low : 0);
        return within(low, high, 1, WORKLOAD_CLIENTS_MAX);
    case 'K':
        settings->keys = (unsigned)(whole(value, &low, &high) ? low : 0);
        return within(low, high, 1, WORKLOAD_KEYS_MAX);
    case 'H':
        settings->run.history = fopen(value, "w");
        return settings->run.history != NULL;
    case 'p':
        settings->plan_only = true;
        return true;
    case 'T':
        settings->run.trace = true;
        return true;
    case 'X':
        settings->stop = true;
        return true;
    case 'S':
        settings->shrink = false;
        return true;
    case 'W':
        settings->wire = true;
        return true;
    case 'j':
        settings->json = true;
        return true;
    default:
        return false;
    }
}

int main(int count, char **words) {
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 's'},
                                            {"nodes", required_argument, NULL, 'k'},
                                            {"m", required_argument, NULL, 'm'},
                                            {"n", required_argument, NULL, 'n'},
                                            {"minutes", required_argument, NULL, 't'},
                                            {"churn", required_argument, NULL, 'c'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"faults", required_argument, NULL, 'f'},
                                            {"ring-trace", required_argument, NULL, 'R'},
                                            {"clients", required_argument, NULL, 'C'},
                                            {"keys", required_argument, NULL, 'K'},
                                            {"history", required_argument, NULL, 'H'},
                                            {"data", no_argument, NULL, 'd'},
                                            {"plan", no_argument, NULL, 'p'},
                                            {"trace", no_argument, NULL, 'T'},
                                            {"no-shrink", no_argument, NULL, 'S'},
                                            {"measure", no_argument, NULL, 'M'},
                                            {"lookups", required_argument, NULL, 'l'},
                                            {"fail", required_argument, NULL, 'F'},
                                            {"quiet", required_argument, NULL, 'q'},
                                            {"slower", required_argument, NULL, 'w'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"stop", no_argument, NULL, 'X'},
                                            {"wire", no_argument, NULL, 'W'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct settings settings = {
        .seed_first = 1,
        .seed_last = 1,
        .all = true,
        .shrink = true,
        .experiment = {.lookups = 10000, .quiet_s = 10},
        .keys = 24,
        .profile = {.minutes = 1, .churn_per_minute = 1, .faults_per_minute = 12}};
    struct totals totals = {0};
    double began = seconds_now();
    for (int key; (key = getopt_long(count, words, "", options, NULL)) != -1;) {
        if (key == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (!option(&settings, key, optarg)) {
            if (key != '?') {
                fprintf(stderr, "chord-sim: a value of an option is out of range: %s\n", optarg);
            }
            fputs("chord-sim: see chord-sim --help\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (settings.profile.nodes_max == 0) {
        settings.profile.nodes_min = settings.clients > 0 ? 4 : 5;
        settings.profile.nodes_max = settings.clients > 0 ? 12 : 64;
    }
    if (settings.measure) {
        return measure(&settings);
    }
    if (settings.profile.nodes_max > PLAN_NODES_MAX / 2) {
        fprintf(stderr, "chord-sim: plans have up to %d nodes\n", PLAN_NODES_MAX / 2);
        return EXIT_USAGE;
    }
    if (optind == count) {
        run_seeds(&settings, &totals);
    }
    for (int i = optind; i < count; i++) {
        if (!run_file(&settings, words[i], &totals)) {
            return EXIT_USAGE;
        }
    }
    if (!settings.plan_only) {
        print_totals(&totals, settings.json, seconds_now() - began);
    }
    if (settings.run.history != NULL) {
        fclose(settings.run.history);
    }
    if (settings.run.ring_trace != NULL) {
        fclose(settings.run.ring_trace);
    }
    return totals.violations > 0 ? EXIT_VIOLATION : 0;
}
