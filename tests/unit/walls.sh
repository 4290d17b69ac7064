#!/bin/sh
# SPDX-License-Identifier: MIT
# Who may know whom: the includes of each room, held against the table below (the core's own check is
# purity.sh).
#   walls.sh ROOT
# A quoted header must lie in the room itself or in one of the rooms behind its colon; a library's
# header may be used only where its line says so. Prints every offender and fails.
set -eu
root=$1
cd "$root"
bad=0
files=0

offends() {
    echo "$1 includes $2: $3"
    bad=1
}

# The one header of a library -> the rooms that may use it.
library_allowed() {
    case $1 in
    '<nng/'*) [ "$2" = proto ] ;;
    '<civetweb.h>') [ "$2" = gateway ] ;;
    '<sqlite3.h>') [ "$2" = node/store ] || [ "$2" = gateway ] ;;
    '<jansson.h>')
        [ "$2" = gateway ] || [ "$2" = "$chordctl" ] || [ "$2" = proto/clients/json ] ||
            [ "$2" = proto/clients/conformance ]
        ;;
    '<pthread.h>' | '<threads.h>') [ "$2" != tests/sim ] ;;
    *) true ;;
    esac
}

# room: the rooms whose headers it may include. "wire" is the messages made from the .proto files.
check_room() {
    room=$1
    shift
    for file in "$room"/*.c "$room"/*.h; do
        [ -f "$file" ] || continue
        files=$((files + 1))
        for header in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*\(["<][^">]*[">]\).*/\1/p' \
            "$file"); do
            case $header in
            '<'*)
                library_allowed "$header" "$room" ||
                    offends "$file" "$header" "this room may not know that library"
                ;;
            '"chord/v1/'*)
                case " $* " in
                *' wire '*) ;;
                *) offends "$file" "$header" "this room knows no messages" ;;
                esac
                ;;
            *)
                name=${header#\"}
                name=${name%\"}
                found=no
                for other in "$room" "$@"; do
                    [ ! -f "$other/$name" ] || found=yes
                done
                [ "$found" = yes ] ||
                    offends "$file" "$header" "only headers of $room $* may be used here"
                ;;
            esac
        done
    done
}

# A room of the core, and the one header of another room (the frame apart) that it may include.
check_seam() {
    for file in node/chord/"$1"/*.[ch]; do
        for header in $(sed -n 's/^#include "\([a-z_]*\/[a-z_]*\.h\)"$/\1/p' "$file"); do
            case $header in
            frame/*.h | "$2") ;;
            *) offends "$file" "$header" "of the other rooms it may know frame and $2 only" ;;
            esac
        done
    done
}

chordctl=node/chordctl
[ -d "$chordctl" ] || chordctl=proto/clients/chordctl
check_room node/chord
check_room node/chord/frame node/chord
check_room node/chord/ring node/chord
check_room node/chord/data node/chord
# Within the core, ring and data know the frame, and each other by one header alone.
check_seam ring data/for_ring.h
check_seam data ring/for_data.h
check_room node node/store node/chord proto wire
check_room node/store node node/chord proto
check_room proto wire
check_room proto/clients/c proto wire
check_room proto/clients/json proto/clients/c proto wire
check_room proto/clients/conformance proto/clients/c proto wire
check_room "$chordctl" proto/clients/json proto/clients/c proto wire
check_room gateway proto/clients/json proto/clients/c proto wire
check_room tests/sim node/chord node # node: the wire mode's encode and decode
# Whoever calls a ring from outside stands on the one client library.
for file in gateway/*.[ch] "$chordctl"/*.[ch] proto/clients/conformance/*.[ch]; do
    if grep -q '\<rpc_client_' "$file"; then
        offends "$file" rpc_client_... "nodes are asked through proto/clients/c here"
    fi
done
[ "$files" -gt 150 ] || offends "$root" nothing "only $files files found: is this the project's folder?"
[ "$bad" = 0 ]
