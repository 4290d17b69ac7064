#!/bin/sh
# SPDX-License-Identifier: MIT
# The one list of distribution packages that this project needs, and the only place that installs
# them. Debian 12 and Ubuntu 24.04. init.py calls it; people may call it by hand:
#
#   sh deploy/install-deps.sh [SET]             install what is missing (needs root)
#   sh deploy/install-deps.sh --missing [SET]   print what is missing, one a line; changes nothing
#   sh deploy/install-deps.sh --list [SET]      print the whole list
#
# SET is test, fuzz, coverage or figures: it adds what only that command of init.py needs. Run again
# it finds nothing to do and calls no package manager.
set -eu

BUILD="gcc libc6-dev make cmake ninja-build pkg-config protobuf-compiler protobuf-c-compiler
libprotobuf-c-dev libnng-dev libsqlite3-dev libssl-dev libjansson-dev libcsv-dev libcivetweb-dev
libxxhash-dev libcmocka-dev"
RUN="python3 python3-psutil python3-protobuf nodejs npm"
# clang-format and clang-tidy of one version: another one formats otherwise.
TEST="python3-pytest python3-pip python3-setuptools python3-wheel python3-venv mypy spin chromium
iproute2 util-linux nginx haproxy curl sqlite3 ieee-data distro-info-data clang-format-14 clang-tidy-14
valgrind nng-utils dpkg-dev debootstrap golang-go golang-google-protobuf-dev protoc-gen-go zsh"
FUZZ="clang libclang-rt-dev"
COVERAGE="gcovr"
FIGURES="gnuplot-nox"

has() { command -v "$1" >/dev/null 2>&1; }

# Most packages are asked of dpkg; programs that people also install from elsewhere (node from its
# makers, any Chromium) count as there when their command is.
present() {
    case $1 in
    nodejs) has node ;;
    npm) has npm ;;
    chromium) has chromium || has chromium-browser || has google-chrome ;;
    gcc | make | cmake) has "$1" ;;
    ninja-build) has ninja ;;
    pkg-config) has pkg-config ;;
    *) [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ;;
    esac
}

# Ubuntu has Chromium under another name.
package_name() {
    if [ "$1" = chromium ] && grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null; then
        echo chromium-browser
    else
        echo "$1"
    fi
}

action=install
extras=
for argument in "$@"; do
    case $argument in
    --missing) action=missing ;;
    --list) action=list ;;
    test) extras=$TEST ;;
    fuzz) extras=$FUZZ ;;
    coverage) extras=$COVERAGE ;;
    figures) extras=$FIGURES ;;
    *)
        echo "install-deps.sh: unknown argument '$argument'; use [--missing|--list] [test|fuzz|coverage|figures]" >&2
        exit 2
        ;;
    esac
done

missing=
for package in $BUILD $RUN $extras; do
    if [ "$action" = list ]; then
        package_name "$package"
    elif ! present "$package"; then
        missing="$missing $(package_name "$package")"
    fi
done

case $action in
list) exit 0 ;;
missing)
    for package in $missing; do echo "$package"; done
    exit 0
    ;;
esac

if [ -z "$missing" ]; then
    echo "Every package is there already."
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "install-deps.sh: installing needs root; run: sudo sh $0 $*" >&2
    exit 1
fi
if ! has apt-get; then
    echo "install-deps.sh: no apt-get here; install these by hand:$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# Another package manager may be at work on a machine that has just started.
wait_for_lock="-o DPkg::Lock::Timeout=300"
# shellcheck disable=SC2086 # lists of words on purpose
apt-get $wait_for_lock update
# shellcheck disable=SC2086
apt-get $wait_for_lock install -y --no-install-recommends $missing
