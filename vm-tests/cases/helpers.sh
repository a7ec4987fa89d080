# What the cases share. Nothing here needs more than sh: what it does not build in may be missing.

fail() {
    printf '%s\n' "$*"
    exit 1
}

skip() {
    printf 'skip: %s\n' "$*"
    exit 77
}

# Prints a file.
show() {
    while IFS= read -r show_line || [ -n "$show_line" ]; do
        printf '%s\n' "$show_line"
    done < "$1"
}

# Runs memtool; leaves its exit status, output and messages in $status, $out and $err.
try() {
    status=0
    "$MEMTOOL" "$@" > try.out 2> try.err || status=$?
    out=$(show try.out)
    err=$(show try.err)
    last="memtool $*"
}

# The same for a run that has to succeed. A kernel that does not know the operation is a reason to skip.
must() {
    try "$@"
    [ "$status" -eq 0 ] && return 0
    case $err in
    *ENOTTY*) skip "the kernel is too old: $err" ;;
    esac
    fail "$last: exit status $status: $err"
}

# Whether there is a memcontrol(8), which talks to the kernel by itself.
have_memcontrol() {
    command -v memcontrol > /dev/null
}

# Skips the case where the machine has no memory ranges, by memcontrol(8)'s account too.
need_ranges() {
    try ranges list
    case $status,$err in
    0,*) ;;
    *EOPNOTSUPP* | *ENXIO*)
        if have_memcontrol && memcontrol list > /dev/null 2>&1; then fail "memcontrol lists ranges, memtool does not: $err"; fi
        skip "the machine has no memory ranges: $err"
        ;;
    *) fail "$last: exit status $status: $err" ;;
    esac
}

# Fails unless both are the same text: equal WHAT HAVE WANT
equal() {
    [ "$2" = "$3" ] || fail "$1:
$2
but expected is:
$3"
}

# Fails unless TEXT holds PART: holds WHAT TEXT PART
holds() {
    case $2 in
    *"$3"*) ;;
    *) fail "$1 does not hold '$3': $2" ;;
    esac
}

# Prints the RAM of a recorded machine as lines '0xSTART 0xEND', neighbours joined.
ram_of() {
    ram_within='' ram_from='' ram_to=''
    while read -r ram_line; do
        ram_value=${ram_line#*: \"}
        ram_value=${ram_value%%\"*}
        case $ram_within,$ram_line in
        ,'"segments": ['*) ram_within=1 ;;
        1,'"start": '*) ram_start=$ram_value ;;
        1,'"end": '*)
            if [ "$ram_start" != "$ram_to" ]; then
                [ -z "$ram_to" ] || echo "$ram_from $ram_to"
                ram_from=$ram_start
            fi
            ram_to=$ram_value
            ;;
        1,']'*) break ;;
        esac
    done < "$1"
    [ -z "$ram_to" ] || echo "$ram_from $ram_to"
}
