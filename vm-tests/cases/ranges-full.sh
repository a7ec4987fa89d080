# When all variable ranges are in use, one more is refused with ENOSPC, from the kernel as well; all can be removed.
. ../helpers.sh

need_ranges
trap '"$MEMTOOL" --quiet ranges remove --owner vmtest 2> /dev/null' EXIT
must ranges list --all --no-join
before=$out
must --json ranges list
free=${out##*\"free_slot_count\": }
free=${free%%[!0-9]*}

# In units of 16 MiB, far above the RAM of a test's guest.
slot=0
while [ "$slot" -lt "$free" ]; do
    must ranges update --base $((0xe00000000 + slot * 0x1000000)) --length 16m --type write-combine --owner vmtest
    slot=$((slot + 1))
done

base=$((0xe00000000 + slot * 0x1000000))
refused ENOSPC ranges update --base $base --length 16m --type write-combine --owner vmtest
holds 'the message' "$err" 'variable ranges are in use'
memcontrol_refused 'No space left on device' set -b $base -l 16777216 -o vmtest write-combine
if have memcontrol; then
    # Another way to count them.
    owned=$(memcontrol list) count=0
    while read -r range owner rest; do
        [ "$owner" != vmtest ] || count=$((count + 1))
    done << END
$owned
END
    equal "the test's ranges in memcontrol's list" $count "$free"
fi

must ranges remove --owner vmtest
must ranges list --all --no-join
equal 'the table after the removal' "$out" "$before"
