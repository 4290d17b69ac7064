# SPDX-License-Identifier: MIT
# Completion of chordctl for bash. Commands and options are taken from its own --help, so they are
# those of the version that is installed; after a command its options and file names.
_chordctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' i
    local program=${COMP_WORDS[0]} commands
    COMPREPLY=()
    commands=$("$program" --help 2>/dev/null | awk '/^  [a-z]/ { print $1 }')
    for ((i = 1; i < COMP_CWORD; i++)); do
        case " ${commands//$'\n'/ } " in
        *" ${COMP_WORDS[i]} "*)
            command=${COMP_WORDS[i]}
            break
            ;;
        esac
    done
    case $before in
    -o | --output)
        mapfile -t COMPREPLY < <(compgen -W 'table json' -- "$word")
        return
        ;;
    --node | --timeout) return ;;
    esac
    if [[ $word == -* ]]; then
        # shellcheck disable=SC2086 # no word when there is no command
        mapfile -t COMPREPLY < <(compgen -W "$("$program" $command --help 2>/dev/null |
            awk '/^  -/ { for (i = 1; i <= NF && $i ~ /^-/; i++) { sub(/,$/, "", $i); print $i } }')" \
            -- "$word")
    elif [[ -z $command && $before != --ring-key-file ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
    else
        compopt -o default 2>/dev/null
    fi
}
complete -F _chordctl chordctl
