# Completion of memtool's command line in bash: memtool itself says what can stand at the cursor.

_memtool() {
    local words=() current=$2 before='' index line value
    # A word that contains = is several words for readline.
    for ((index = 0; index < COMP_CWORD; index++)); do
        if ((index > 0)) && [[ ${COMP_WORDS[index]} == = || ${COMP_WORDS[index - 1]} == = ]]; then
            words[${#words[@]} - 1]+=${COMP_WORDS[index]}
        else
            words+=("${COMP_WORDS[index]}")
        fi
    done
    if [[ ${COMP_WORDS[COMP_CWORD]} == = ]]; then
        current='='
    fi
    if ((COMP_CWORD > 0)) && [[ $current == = || ${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
        before=${words[${#words[@]} - 1]}
        unset "words[${#words[@]} - 1]"
        [[ $current == = ]] && before+='=' current=''
    fi
    words+=("$before$current")

    COMPREPLY=()
    while IFS= read -r line; do
        value=${line%%$'\t'*}
        printf -v value '%q' "${value#"$before"}"
        COMPREPLY+=("$value")
    done < <(memtool __complete -- "${words[@]}" 2>/dev/null)
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace
    fi
}

# Where memtool offers nothing, as for a name that is quoted, there are the names of files.
complete -o default -o nosort -F _memtool memtool
