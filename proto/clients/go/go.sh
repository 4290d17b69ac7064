#!/bin/sh
# SPDX-License-Identifier: MIT
# The go command on the distribution's packages, without the network: sh go.sh BUILD_FOLDER ARGUMENTS...
# For example: sh go.sh build/go test chord.example/dht. Makes chordv1/ first. All that go keeps lies
# in BUILD_FOLDER, and relative paths begin in this folder.
set -eu
source=$(cd "$(dirname "$0")" && pwd -P)
sh "$source/generate.sh"
mkdir -p "$1/path/src/chord.example"
build=$(cd "$1" && pwd -P)
shift
ln -sfn "$source" "$build/path/src/chord.example/dht"
cd "$build/path/src/chord.example/dht"
export GO111MODULE=off GOFLAGS= GOPATH="$build/path:/usr/share/gocode" GOCACHE="$build/cache"
exec go "$@"
