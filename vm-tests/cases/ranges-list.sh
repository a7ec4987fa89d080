# The ranges that memtool lists, as a table and in memcontrol(8)'s words, are those that memcontrol lists.
. ../helpers.sh

need_ranges
need memcontrol

# The kernel of powerpc begins with none.
if ! is_x86; then
    trap '"$MEMTOOL" --quiet ranges remove --owner vmtest 2> /dev/null' EXIT
    must ranges update --base 0xe00000000 --length 16m --type write-combine --owner vmtest
    must ranges update --base 0xd00100000 --length 3m --type uncacheable --owner vmtest
fi

must ranges list --memcontrol
equal 'memtool ranges list --memcontrol' "$out" "$(memcontrol list)"
must ranges list --all --memcontrol
equal 'memtool ranges list --all --memcontrol' "$out" "$(memcontrol list -a)"

# The table has an end for each range, and a flag that memcontrol has no word for.
tab=$(printf '\t')
in_memcontrols_words() {
    while IFS=$tab read -r base end size type flags owner rest; do
        [ -n "$base" ] || continue
        [ $((base + size)) -eq $((end)) ] || fail "$base and $size do not make $end"
        [ -z "$rest" ] || fail "there is more behind $owner: $rest"
        flags=${flags%,fixed-active},
        # Of a range that never was used memcontrol says nothing.
        [ "$type $flags" != 'unknown -,' ] || type=''
        words=''
        while [ -n "$flags" ]; do
            [ "$flags" = -, ] || words="$words${flags%%,*} "
            flags=${flags#*,}
        done
        printf '%s/0x%x %s\n' "$base" "$size" "$owner ${type:+$type }$words"
    done
}
for all in '' --all; do
    must ranges list --no-join $all
    table=$(printf '%s\n' "$out" | in_memcontrols_words) || fail "$table"
    equal "the table of $last" "$table" "$(memcontrol list ${all:+-a})"
done
