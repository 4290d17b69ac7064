#!/bin/sh
# SPDX-License-Identifier: MIT
# The core is pure: three machine checks on node/chord.
#   purity.sh includes SOURCE_DIR       only <stdint.h> <stdbool.h> <stddef.h> <string.h> and own headers
#   purity.sh symbols  ARCHIVE          nothing undefined but mem*, chord_assert_failed, its own, and the
#                                    linker's table of addresses (the core points at its functions)
#   purity.sh statics  ARCHIVE          no mutable static, global or thread-local object
# Prints every offender and fails.
set -eu
export LC_ALL=C

includes() {
    bad=0
    count=0
    for file in $(find "$1" -name '*.[ch]'); do
        count=$((count + 1))
        # Every directive, whatever its spacing; anything but one plain header is an offender too.
        for header in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*\(.*\)$/\1/p' "$file" |
            sed 's,/[*/].*,,; s/[[:space:]]//g'); do
            case $header in
            '<stdint.h>' | '<stdbool.h>' | '<stddef.h>' | '<string.h>') continue ;;
            \"*\")
                name=${header#\"}
                name=${name%\"}
                case $name in
                *..*) ;;
                *) { [ -f "$1/$name" ] || [ -f "${file%/*}/$name" ]; } && continue ;;
                esac
                ;;
            esac
            echo "$file includes $header: the core may use only <stdint.h> <stdbool.h> <stddef.h>" \
                "<string.h> and its own headers"
            bad=1
        done
    done
    [ "$count" -gt 10 ] || { echo "no core sources in $1"; bad=1; }
    return $bad
}

symbols() {
    nm --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort -u >"$work/defined"
    nm --undefined-only "$1" | awk '$1 == "U" || $1 == "w" || $1 == "v" { print $2 }' | sort -u |
        comm -23 - "$work/defined" | grep -v -E '^(mem[a-z]+|chord_assert_failed|_GLOBAL_OFFSET_TABLE_)$' >"$work/bad" || true
    grep -q '^chord_step$' "$work/defined" || echo "chord_step is not defined: wrong archive?" >>"$work/bad"
    sed "s|^|$1 needs a symbol from outside: |" "$work/bad"
    [ ! -s "$work/bad" ]
}

# Constant tables of pointers live in .data.rel.ro, which nm would call data: look at the section.
statics() {
    objdump -t "$1" >"$work/table"
    grep -q ' chord_step$' "$work/table" || { echo "chord_step is not defined: wrong archive?"; return 1; }
    awk '/^[0-9a-f]+ / {
            section = ""
            for (i = 2; i <= NF; i++)
                if ($i ~ /^(\.data|\.bss|\.tdata|\.tbss|\*COM\*)/) { section = $i; break }
            if (section == "" || section ~ /^\.data\.rel\.ro/) next
            if ($NF == section) next
            print $NF " in " section
        }' "$work/table" >"$work/bad"
    sed "s|^|$1 has a mutable object: |" "$work/bad"
    [ ! -s "$work/bad" ]
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case $1 in
includes) includes "$2" ;;
symbols) symbols "$2" ;;
statics) statics "$2" ;;
*)
    echo "purity.sh includes|symbols|statics PATH" >&2
    exit 2
    ;;
esac
