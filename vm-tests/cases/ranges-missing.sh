# A range that is not there, or not with that length, cannot be removed: ENOENT, from the kernel as well.
. ../helpers.sh

need_ranges
trap '"$MEMTOOL" --quiet ranges remove --owner vmtest 2> /dev/null' EXIT
must ranges update --base 0xe00000000 --length 16m --type write-combine --owner vmtest
must ranges list --all
before=$out

# refused_removal BASE LENGTH
refused_removal() {
    refused ENOENT ranges remove --base "$1" --length "$2"
    holds 'the message' "$err" 'no range has exactly that base and length'
    memcontrol_refused 'No such file or directory' clear -b "$1" -l "$2"
}

refused_removal 0xd00000000 16777216
refused_removal 0xe00000000 8388608
holds 'the message' "$err" 'the nearest is 0xe00000000+0x1000000 write-combine (vmtest)'
refused 'has no active range' ranges remove --owner vmtest2

must ranges list --all
equal 'the table after all that was refused' "$out" "$before"
