#!/bin/sh
# SPDX-License-Identifier: MIT
# A seed's run is the same each time, also when each message is encoded and decoded as the node does
# it, and another seed's is another.
set -eu
program=$1
digest() { "$program" --nodes 12 --minutes 0.3 --data "$@" | sed -n 's/.*digest \([0-9a-f]*\).*/\1/p'; }
one=$(digest --seed 7)
again=$(digest --seed 7)
wire=$(digest --seed 7 --wire)
other=$(digest --seed 9)
[ -n "$one" ] && [ "$one" = "$again" ] && [ "$one" = "$wire" ] && [ "$one" != "$other" ]
