# What memtool refuses with EINVAL and a reason, the kernel refuses as well; nothing changes.
. ../helpers.sh

need_ranges
is_x86 || skip 'the kernel takes ranges of any place and length'
trap '"$MEMTOOL" --quiet ranges remove --owner vmtest 2> /dev/null' EXIT
must ranges update --base 0xe00000000 --length 16m --type write-combine --owner vmtest
must ranges list --all
before=$out

# refused_range BASE LENGTH TYPE REASON
refused_range() {
    refused EINVAL ranges update --base "$1" --length "$2" --type "$3"
    holds 'the message' "$err" "$4"
    memcontrol_refused 'Invalid argument' set -b "$1" -l "$2" -o other "$3"
}

refused_range 0xd00100000 3145728 write-combine 'the length must be a power of two'
refused_range 0xd00100000 2097152 write-combine 'multiple of'
refused_range 0xe00000000 4194304 uncacheable 'it overlaps 0xe00000000+0x1000000 write-combine (vmtest)'

must ranges list --all
equal 'the table after all that was refused' "$out" "$before"
