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

# Without types, the list of a running kernel has few columns; with types it can have those of ps.
try ps --quiet --columns pid
has_types=$status

before=$(by_ps -o pid= -o nlwp= -o ucomm=)
if [ "$has_types" -eq 0 ]; then
    must ps --quiet --columns pid,nlwp,ucomm
    after=$(by_ps -o pid= -o nlwp= -o ucomm=)
    listed=$out
else
    must ps --quiet
    after=$(by_ps -o pid= -o nlwp= -o ucomm=)
    listed=$(echo "$out" | while IFS=$tab read -r pid name threads address; do
        printf '%s\t%s\t%s\n' "$pid" "$threads" "$name"
    done)
fi
own='' there=''
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

# What a kernel with types tells of each process, value by value; what changes from one moment to the next is left out.
[ "$has_types" -eq 0 ] || exit 0
for column in ppid uid ruid svuid rgid pgid sid nice tty tpgid jid emul lstart flags2 user login args; do
    before=$(by_ps -ww -o pid= -o ucomm= -o "$column=")
    must ps --quiet --columns "pid,ucomm,$column"
    after=$(by_ps -ww -o pid= -o ucomm= -o "$column=")
    listed=$out own='' there=''
    while IFS=$tab read -r pid name rest; do
        [ "$name" != memtool ] || own=$pid
    done << END
$listed
END
    compare "memtool ps -o $column"
done
