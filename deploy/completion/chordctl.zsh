#compdef chordctl
# SPDX-License-Identifier: MIT
# Completion of chordctl for zsh. Commands and options are taken from its own --help, so they are
# those of the version that is installed; after a command its options and file names.
local program=${~words[1]} before=${words[CURRENT-1]} command='' given
local -a commands options
commands=(${(f)"$($program --help 2>/dev/null | awk '/^  [a-z]/ { print $1 }')"})
for given in ${words[2,CURRENT-1]}; do
    if (( ${commands[(Ie)$given]} )); then
        command=$given
        break
    fi
done
case $before in
-o | --output)
    compadd -- table json
    return
    ;;
--node | --timeout) return ;;
esac
if [[ ${words[CURRENT]} == -* ]]; then
    options=(${(f)"$($program $command --help 2>/dev/null |
        awk '/^  -/ { for (i = 1; i <= NF && $i ~ /^-/; i++) { sub(/,$/, "", $i); print $i } }')"})
    compadd -- $options
elif [[ -z $command && $before != --ring-key-file ]]; then
    compadd -- $commands
else
    _files
fi
