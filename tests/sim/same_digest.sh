#!/bin/sh
# A seed's run is the same each time, and another seed's is another.
set -eu
digest() { "$1" --seed "$2" --nodes 12 --minutes 0.3 --data | sed -n 's/.*digest \([0-9a-f]*\).*/\1/p'; }
one=$(digest "$1" 7)
again=$(digest "$1" 7)
other=$(digest "$1" 8)
[ -n "$one" ] && [ "$one" = "$again" ] && [ "$one" != "$other" ]
