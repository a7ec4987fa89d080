# The kernel takes a range, gives it back as it was set, changes its type where it can, and removes it.
. ../helpers.sh

# Far above the RAM of a test's guest, and within 36 bits.
base=0xe00000000
tab=$(printf '\t')

need_ranges
trap '"$MEMTOOL" --quiet ranges remove --owner vmtest 2> /dev/null' EXIT
must ranges list --no-join
before=$out
! have memcontrol || kernel_before=$(memcontrol list -a)

for type in write-combine uncacheable; do
    # powerpc's takes no range that is there already.
    if [ $type = uncacheable ] && ! is_x86; then
        refused EEXIST ranges update --base $base --length 16m --type $type --owner vmtest
        memcontrol_refused 'File exists' set -b $base -l 16777216 -o vmtest $type
        must ranges remove --base $base --length 16m
    fi
    must ranges update --base $base --length 16m --type $type --owner vmtest
    must ranges list --owner vmtest
    equal 'the new range' "$out" "$base${tab}0xe01000000${tab}16777216${tab}$type${tab}active${tab}vmtest"
    if have memcontrol; then
        holds "memcontrol's list" "$(memcontrol list)" "$base/0x1000000 vmtest $type active"
    fi
done

must ranges remove --base $base --length 16m
must ranges list --no-join
equal 'the table after the removal' "$out" "$before"
! have memcontrol || equal "memcontrol's list after the removal" "$(memcontrol list -a)" "$kernel_before"
