/* SPDX-License-Identifier: MIT */
/* chordctl export: every key and value of the ring as a CSV file that import takes back. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "csv_export.h"
#include "ctl.h"
#include "output.h"

enum { EXPORT_PAGE = 1000 };

struct export {
    struct ctl *ctl;
    const char *name;
    const char *part; /* the file while it is not whole; NULL: there is none */
    struct csv_export *writer;
    FILE *file;
    struct buf out;
};

/* ---- writing ---- */

/* The file gets its name only when it is complete; an incomplete one is removed at the end. */
_Noreturn static void export_fail(const struct export *export, int exit_code, const char *what,
                                  const char *reason) {
    if (export->part != NULL) {
        (void)unlink(export->part);
    }
    ctl_fail(exit_code, "%s: %s", what, reason);
}

static void written(const struct export *export, bool ok) {
    if (!ok) {
        char what[PATH_MAX];
        snprintf(what, sizeof what, "%s cannot be written", export->name);
        export_fail(export, CTL_NOT_FOUND, what, strerror(errno));
    }
}

static void out_write(struct export *export) {
    written(export,
            fwrite(export->out.data, 1, export->out.size, export->file) == export->out.size);
    buf_clear(&export->out);
}

static void export_walk(struct export *export) {
    struct chord_walk *walk = chord_walk_new(export->ctl->ring, NULL, 0, true);
    struct chord_page page = {.done = false};
    char error[200], what[PATH_MAX];
    if (walk == NULL) {
        memory_missing();
    }
    written(export, csv_export_head(export->writer, &export->out));
    while (!page.done) {
        if (!chord_walk_next(walk, EXPORT_PAGE, &page, error, sizeof error)) {
            snprintf(what, sizeof what, "the export of %s is not whole", export->name);
            export_fail(export, page.nobody ? CTL_NO_NODE : CTL_REFUSED, what, error);
        }
        written(export, csv_export_page(export->writer, &export->out, &page));
        out_write(export);
    }
    written(export, csv_export_end(export->writer, &export->out));
    out_write(export);
    written(export, fflush(export->file) == 0);
    chord_walk_free(walk);
}

/* ---- the file: it has its name only when it is whole and on disk ---- */

static void file_export(struct export *export) {
    char part[PATH_MAX];
    int size = snprintf(part, sizeof part, "%s.part", export->name);
    errno = ENAMETOOLONG;
    written(export, size >= 0 && (size_t)size < sizeof part);
    mode_t mask = umask(077); /* only the owner may read values */
    export->file = fopen(part, "we");
    umask(mask);
    written(export, export->file != NULL);
    export->part = part;
    export_walk(export);
    written(export, fsync(fileno(export->file)) == 0);
    written(export, fclose(export->file) == 0);
    written(export, rename(part, export->name) == 0);
    export->part = NULL;
}

static void summary_print(const struct export *export, const char *form) {
    uint64_t rows = csv_export_rows(export->writer);
    if (export->ctl->json) {
        json_print(json_pack("{s:o, s:s, s:o}", "file", json_text(export->name), "form", form,
                             "rows", json_u64(rows)));
    } else {
        line_print("%s: %llu rows in the %s form", export->name, (unsigned long long)rows, form);
    }
}

static int export_run(struct ctl *ctl, const struct arguments *arguments) {
    const char *name = arguments->words[0];
    const char *format = arguments_option(arguments, "format");
    enum csv_form form = CSV_LOSSLESS;
    if (format != NULL && !csv_form_read(format, &form)) {
        ctl_fail(CTL_USAGE, "--format '%s' is not known: give %s", format, CSV_FORMS);
    }
    bool to_stdout = strcmp(name, "-") == 0;
    if (to_stdout && ctl->json) {
        ctl_fail(CTL_USAGE, "-o json tells of a file: give its name instead of -");
    }
    struct export export = {.ctl = ctl,
                            .name = to_stdout ? "stdout" : name,
                            .writer = csv_export_new(form),
                            .file = stdout};
    if (export.writer == NULL) {
        ctl_fail(CTL_REFUSED, "there is no memory, or no SHA-256 in this host's libcrypto");
    }
    nodes_learn(ctl);
    if (to_stdout) {
        export_walk(&export);
    } else {
        file_export(&export);
        summary_print(&export, csv_form_name(form));
    }
    csv_export_free(export.writer);
    buf_free(&export.out);
    return CTL_OK;
}

static const struct flag export_options[] = {
    {0, "format", "FORM", "lossless (default), csv or spreadsheet"},
    {0, NULL, NULL, NULL},
};
const struct command export_command = {
    .name = "export",
    .words = "FILE",
    .words_min = 1,
    .words_max = 1,
    .summary = "write every key and value to a CSV file",
    .help =
        "FILE '-' is stdout. lossless comes back with `chordctl import`: any bytes, and when a\n"
        "key expires. csv has the bytes as they are, for other programs. spreadsheet puts a '\n"
        "before what a spreadsheet could take for a formula. Each file ends with a row that\n"
        "tells how many there are and their checksum; import checks it. FILE has its name\n"
        "only when it is whole.\n",
    .options = export_options,
    .run = export_run,
};
