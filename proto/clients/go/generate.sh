#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes chordv1/, the messages of the contract, from proto/chord/v1. Needs protoc and protoc-gen-go.
set -eu
cd "$(dirname "$0")"
module=chord.example/dht
fresh=$(mktemp -d ./.chordv1-XXXXXX) # beside chordv1: a rename, so that nobody reads half a file
trap 'rm -rf "$fresh"' EXIT
set --
for name in admin common envelope kv meta; do
    set -- "$@" "--go_opt=Mchord/v1/$name.proto=$module/chordv1" "chord/v1/$name.proto"
done
protoc -I ../.. --go_out="$fresh" --go_opt=module="$module" "$@"
mkdir -p chordv1
for file in "$fresh"/chordv1/*.go; do
    cmp -s "$file" "chordv1/${file##*/}" || mv "$file" chordv1/
done
