#!/bin/sh
# SPDX-License-Identifier: MIT
# Each source file of ours says its licence where tools look for it: in its first line, or in the
# second when the first has to be something else (#!, #compdef, <!doctype>).
#   licences.sh ROOT
# Prints every file that does not, and fails.
set -eu
cd "$1"
sources=$(find . -maxdepth 1 -type f \( -name '*.py' -o -name CMakeLists.txt \)
    find .ci deploy gateway node proto tests web \
        \( -name vendor -o -name node_modules -o -name corpus -o -name __pycache__ -o -name chordv1 \) -prune -o -type f \
        \( -name '*.c' -o -name '*.h' -o -name '*.proto' -o -name '*.py' -o -name '*.sh' -o -name '*.cmake' \
        -o -name CMakeLists.txt -o -name '*.js' -o -name '*.mjs' -o -name '*.css' -o -name '*.html' \
        -o -name '*.svg' -o -name '*.pml' -o -name '*.map' -o -name '*.pc.in' -o -name '*.service' \
        -o -name '*.target' -o -name '*.bash' -o -name '*.zsh' -o -path '*/deploy/debian/*/p*' -o -name '*.yaml' -o -name '*.go' -o -path '.ci/run' \) -print)
bad=0
files=0
for file in $sources; do
    files=$((files + 1))
    head -n 2 "$file" | grep -Eq '(#|//|/\*|<!--) SPDX-License-Identifier: MIT( \*/| -->)?$' || {
        echo "$file: its first line is not 'SPDX-License-Identifier: MIT' in a comment"
        bad=1
    }
done
[ "$files" -gt 400 ] || {
    echo "only $files source files found: is $1 the project's folder?"
    bad=1
}
[ "$bad" = 0 ]
