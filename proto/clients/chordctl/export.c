/* SPDX-License-Identifier: MIT */
/* chordctl export: every key and value of the ring as a CSV file that import takes back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "csv_export.h"
#include "ctl.h"
#include "output.h"

enum { EXPORT_PAGE = 1000 };

struct export {
    struct ctl *ctl;
    struct csv_export *writer;
    FILE *file;
    struct buf out;
};

/* ---- writing ---- */

static bool out_write(struct export *export) {
    bool ok = fwrite(export->out.data, 1, export->out.size, export->file) == export->out.size;
    buf_clear(&export->out);
    return ok;
}

static bool page_write(struct export *export, const struct chord_page *page) {
    bool ok = true;
    for (size_t i = 0; i < page->count && ok; i++) {
        const struct chord_row *row = &page->rows[i];
        ok = csv_export_row(export->writer, &export->out, row->key, row->key_size, row->value,
                            row->value_size, row->expires_at_ms);
    }
    return ok && out_write(export);
}

static int write_failed(const char *name) {
    ctl_error("%s cannot be written: %s", name, strerror(errno));
    return CTL_NOT_FOUND;
}

static int export_walk(struct export *export, const char *name) {
    struct chord_walk *walk = chord_walk_new(export->ctl->ring, NULL, 0, true);
    struct chord_page page = {.done = false};
    char error[200] = "";
    int exit_code = CTL_OK;
    if (walk == NULL) {
        memory_missing();
    }
    if (!csv_export_head(export->writer, &export->out) || !out_write(export)) {
        exit_code = write_failed(name);
    }
    while (exit_code == CTL_OK && !page.done) {
        if (chord_walk_next(walk, EXPORT_PAGE, &page, error, sizeof error)) {
            exit_code = page_write(export, &page) ? CTL_OK : write_failed(name);
        } else {
            ctl_error("the export of %s is not whole: %s", name, error);
            exit_code = page.nobody ? CTL_NO_NODE : CTL_REFUSED;
        }
    }
    if (exit_code == CTL_OK && (!csv_export_end(export->writer, &export->out) ||
                                !out_write(export) || fflush(export->file) != 0)) {
        exit_code = write_failed(name);
    }
    chord_walk_free(walk);
    return exit_code;
}

/* ---- the file: it has its name only when it is whole and on disk ---- */

static int file_export(struct export *export, const char *name) {
    size_t size = strlen(name) + sizeof ".part";
    char *part = malloc(size);
    if (part == NULL) {
        return write_failed(name);
    }
    snprintf(part, size, "%s.part", name);
    mode_t mask = umask(077); /* values are nobody else's business */
    export->file = fopen(part, "we");
    umask(mask);
    int exit_code = export->file == NULL ? write_failed(part) : export_walk(export, name);
    if (exit_code == CTL_OK && fsync(fileno(export->file)) != 0) {
        exit_code = write_failed(part);
    }
    if (export->file != NULL && fclose(export->file) != 0 && exit_code == CTL_OK) {
        exit_code = write_failed(part);
    }
    if (exit_code == CTL_OK && rename(part, name) != 0) {
        exit_code = write_failed(name);
    }
    if (exit_code != CTL_OK && export->file != NULL) {
        (void)unlink(part);
    }
    free(part);
    return exit_code;
}

static void summary_print(const struct export *export, const char *name, enum csv_form form) {
    uint64_t rows = csv_export_rows(export->writer);
    if (export->ctl->json) {
        json_print(json_pack("{s:o, s:s, s:o}", "file", json_text(name), "form",
                             csv_form_name(form), "rows", json_u64(rows)));
    } else {
        line_print("%s: %llu rows in the %s form", name, (unsigned long long)rows,
                   csv_form_name(form));
    }
}

static int export_run(struct ctl *ctl, const struct arguments *arguments) {
    const char *name = arguments->words[0];
    const char *format = arguments_option(arguments, "format");
    enum csv_form form = CSV_LOSSLESS;
    if (format != NULL && !csv_form_read(format, &form)) {
        ctl_error("--format '%s' is not known: give %s", format, CSV_FORMS);
        return CTL_USAGE;
    }
    bool to_stdout = strcmp(name, "-") == 0;
    if (to_stdout && ctl->json) {
        ctl_error("-o json tells of a file: give its name instead of -");
        return CTL_USAGE;
    }
    struct export export = {.ctl = ctl, .writer = csv_export_new(form), .file = stdout};
    if (export.writer == NULL) {
        ctl_error("there is no memory, or no SHA-256 in this host's libcrypto");
        return CTL_REFUSED;
    }
    int exit_code = nodes_learn(ctl);
    if (exit_code == CTL_OK) {
        exit_code = to_stdout ? export_walk(&export, "stdout") : file_export(&export, name);
    }
    if (exit_code == CTL_OK && !to_stdout) {
        summary_print(&export, name, form);
    }
    csv_export_free(export.writer);
    buf_free(&export.out);
    return exit_code;
}

static const struct option export_options[] = {
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
