/* SPDX-License-Identifier: MIT */
#include "work.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

static const double s_in_ns = 1e9;
static const double us_in_ns = 1e3;

uint64_t work_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- options ---- */

const struct flag *work_flags(struct work_options *options) {
    static struct flag flags[13];
    *options = (struct work_options){.kind = "get",
                                     .keys = 10000,
                                     .value_bytes = 64,
                                     .in_flight = 64,
                                     .seed = 1,
                                     .reads = 50,
                                     .seconds = 5,
                                     .warm_up = 0.5};
    size_t at = 0;
#define FLAG(name_, kind_, field_, help_)                                                          \
    flags[at++] = (struct flag){.name = name_, .kind_ = &options->field_, .help = help_}
    FLAG("kind", text, kind, "get, put or mix (get)");
    FLAG("reads", real, reads, "percent of a mix that are gets (50)");
    FLAG("keys", number, keys, "how many there are (10000)");
    FLAG("zipf", real, zipf, "theta of Zipf's law by which keys are drawn; 0: all alike (0)");
    FLAG("value-bytes", number, value_bytes, "of each value (64)");
    FLAG("in-flight", number, in_flight, "operations at the same time, at most (64)");
    FLAG("rate", real, rate, "an open loop of so many operations a second; 0: a closed loop (0)");
    FLAG("seconds", real, seconds, "how long is measured (5)");
    FLAG("warm-up", real, warm_up, "seconds before that which do not count (0.5)");
    FLAG("fill", is_there, fill, "store every key once before");
    FLAG("seed", number, seed, "of the draws (1)");
    FLAG("exit-with-parent", is_there, exit_with_parent, "end when the parent process ends");
#undef FLAG
    return flags;
}

void work_watch_parent(const struct work_options *options) {
    if (options->exit_with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    }
}

static void check(const struct work_options *options) {
    if (strcmp(options->kind, "get") != 0 && strcmp(options->kind, "put") != 0 &&
        strcmp(options->kind, "mix") != 0) {
        flags_refuse("--kind %s: there are get, put and mix", options->kind);
    }
    if (options->keys == 0 || options->keys > 100000000) {
        flags_refuse("--keys: from 1 to 100000000");
    }
    if (options->in_flight == 0 || options->in_flight > 10000) {
        flags_refuse("--in-flight: from 1 to 10000");
    }
    if (options->value_bytes < WORK_VALUE_BYTES_MIN || options->value_bytes > 1024 * 1024) {
        flags_refuse("--value-bytes: from %d to %d", WORK_VALUE_BYTES_MIN, 1024 * 1024);
    }
    if (options->reads > 100) {
        flags_refuse("--reads: from 0 to 100 percent");
    }
    if (options->seconds > 1e6 || options->warm_up > 1e6) {
        flags_refuse("--seconds, --warm-up: at most 1000000");
    }
}

void work_init(struct work *work, const struct work_options *options) {
    check(options);
    work_watch_parent(options);
    memset(work, 0, sizeof *work);
    work->options = *options;
    work->random = options->seed;
    if (options->zipf > 0 && zipf_init(&work->zipf, options->keys, options->zipf) != 0) {
        flags_refuse("no memory for %llu keys", (unsigned long long)options->keys);
    }
}

void work_free(struct work *work) {
    zipf_free(&work->zipf);
}

/* ---- what begins when ---- */

static void begin(struct work *work, bool filling) {
    work->filling = filling;
    work->started = 0;
    work->began_ns = work_now_ns();
    work->counted_from_ns = work->began_ns + (uint64_t)(work->options.warm_up * s_in_ns);
    work->ends_ns = work->counted_from_ns + (uint64_t)(work->options.seconds * s_in_ns);
}

void work_begin_fill(struct work *work) {
    begin(work, true);
}

void work_begin(struct work *work) {
    begin(work, false);
}

static bool draw_is_read(struct work *work) {
    switch (work->options.kind[0]) {
    case 'g':
        return true;
    case 'p':
        return false;
    default:
        return random_uniform(&work->random) * 100 < work->options.reads;
    }
}

static uint64_t draw_key(struct work *work) {
    double uniform = random_uniform(&work->random);
    /* Ranks need no shuffling: where a key lies is its hash's business. */
    return work->zipf.sums != NULL ? zipf_rank(&work->zipf, uniform)
                                   : (uint64_t)(uniform * (double)work->options.keys);
}

/* Of an open loop that cannot keep up: when what it owes is begun no more. */
static uint64_t give_up_ns(const struct work *work) {
    return work->ends_ns + (work->ends_ns - work->began_ns);
}

/* How many should have begun by the end and never did. */
static uint64_t not_begun(const struct work *work) {
    double wanted = (double)(work->ends_ns - work->began_ns) / s_in_ns * work->options.rate;
    double missing = ceil(wanted) - (double)work->started;
    return missing > 0 ? (uint64_t)missing : 0;
}

bool work_take(struct work *work, uint64_t now_ns, struct task *task, uint64_t *at_ns) {
    *at_ns = UINT64_MAX;
    if (work->filling) {
        *task = (struct task){.key = work->started, .intended_ns = now_ns};
        return work->started < work->options.keys && ++work->started;
    }
    uint64_t intended = now_ns;
    if (work->options.rate > 0) {
        intended = work->began_ns +
                   (uint64_t)llround((double)work->started / work->options.rate * s_in_ns);
    }
    if (intended >= work->ends_ns || now_ns >= give_up_ns(work)) {
        return false;
    }
    if (intended > now_ns) {
        *at_ns = intended;
        return false;
    }
    work->started++;
    *task = (struct task){
        .is_read = draw_is_read(work), .key = draw_key(work), .intended_ns = intended};
    return true;
}

void work_done(struct work *work, const struct task *task, uint64_t now_ns, const char *reason) {
    if (reason != NULL && work->errors++ == 0) {
        snprintf(work->reason, sizeof work->reason, "%s", reason);
    }
    /* A closed loop has done what ends within its time, or the first that ends at all; an open one
     * owes all that it has meant to begin there. */
    bool open = work->options.rate > 0;
    bool counts =
        open ? task->intended_ns >= work->counted_from_ns
             : now_ns >= work->counted_from_ns && (now_ns < work->ends_ns || work->done == 0);
    if (!work->filling && counts) {
        work->done++;
        work->hops += task->hops;
        work->last_done_ns = now_ns > work->last_done_ns ? now_ns : work->last_done_ns;
        histogram_add(&work->latencies, now_ns - task->intended_ns);
    }
}

/* ---- keys and values ---- */

void work_key(uint64_t key, char text[WORK_KEY_SIZE]) {
    snprintf(text, WORK_KEY_SIZE, "bench-%09u", (unsigned)key);
}

void work_value(const struct work *work, uint64_t key, char *value) {
    char text[WORK_KEY_SIZE];
    work_key(key, text);
    memset(value, '.', work->options.value_bytes);
    memcpy(value, text, strlen(text));
}

const char *work_check(const struct work *work, uint64_t key, const void *value, size_t size) {
    char text[WORK_KEY_SIZE];
    work_key(key, text);
    if (size != work->options.value_bytes) {
        return "a value of another size: fill the keys first (--fill)";
    }
    return memcmp(value, text, strlen(text)) == 0 ? NULL : "another key's value";
}

/* ---- the figures ---- */

static void print_text(const char *text) {
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar((unsigned char)*text < ' ' ? ' ' : *text);
    }
    putchar('"');
}

int work_print(const struct work *work) {
    const struct histogram *times = &work->latencies;
    uint64_t until = work->ends_ns;
    if (work->last_done_ns > until) {
        until = work->last_done_ns;
    }
    double seconds = (double)(until - work->counted_from_ns) / s_in_ns;
    printf("{\"kind\": \"%s\", \"operations\": %llu, \"errors\": %llu, \"seconds\": %.3f, "
           "\"per_second\": %.1f",
           work->options.kind, (unsigned long long)work->done, (unsigned long long)work->errors,
           seconds, seconds > 0 ? (double)work->done / seconds : 0);
    printf(", \"mean_us\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f, \"not_begun\": %llu, \"hops_mean\": %.3f, \"reason\": ",
           times->count > 0 ? (double)times->sum / (double)times->count / us_in_ns : 0,
           (double)histogram_quantile(times, 0.5) / us_in_ns,
           (double)histogram_quantile(times, 0.99) / us_in_ns,
           (double)histogram_quantile(times, 0.999) / us_in_ns, (double)times->max / us_in_ns,
           (unsigned long long)not_begun(work),
           work->done > 0 ? (double)work->hops / (double)work->done : 0);
    print_text(work->reason);
    printf("}\n");
    return work->errors == 0 ? 0 : 1;
}
