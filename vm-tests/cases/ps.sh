# The running kernel's processes and threads are those that ps(1) lists, by ID, name and number of threads.
. ../helpers.sh

need ps
tab=$(printf '\t')

# Prints what ps lists, with tabs: by_ps COLUMN...
by_ps() {
    # A name can hold blanks, and stands last.
    ps -ax "$@" | while read -r first second rest; do
        printf '%s\t%s\t%s\n' "$first" "$second" "$rest"
    done
}

# What was there all the time has to be in the list, and the list may have nothing but what was there at some time,
# and memtool itself.
compare() {
    while IFS= read -r line; do
        has_line "$after" "$line" || continue
        has_line "$listed" "$line" || fail "$1 lacks '$line': $listed"
        there=1
    done << END
$before
END
    [ -n "$there" ] || fail "ps lists nothing that stays: $before"
    while IFS= read -r line; do
        has_line "$before" "$line" || has_line "$after" "$line" || [ "${line%%"$tab"*}" = "$own" ] ||
            fail "$1 lists '$line', ps does not: $before"
    done << END
$listed
END
}

before=$(by_ps -o pid= -o nlwp= -o ucomm=)
must ps --quiet
after=$(by_ps -o pid= -o nlwp= -o ucomm=)
own='' there=''
listed=$(echo "$out" | while IFS=$tab read -r pid name threads address; do
    printf '%s\t%s\t%s\n' "$pid" "$threads" "$name"
done)
while IFS=$tab read -r pid threads name; do
    [ "$name" != memtool ] || own=$pid
done << END
$listed
END
[ -n "$own" ] || fail "memtool does not list itself: $listed"
compare 'memtool ps'

before=$(by_ps -H -o pid= -o lwp=)
must ps --quiet --threads
after=$(by_ps -H -o pid= -o lwp=)
own='' there=''
listed=$(echo "$out" | while IFS=$tab read -r pid tid rest; do
    printf '%s\t%s\t\n' "$pid" "$tid"
done)
while IFS=$tab read -r pid tid name rest; do
    [ "$name" != memtool ] || own=$pid
done << END
$out
END
compare 'memtool ps --threads'
