# Only what the firmware lists as RAM is dumped, by sysctl(8)'s words; what lies beside it is refused, and not read.
. ../helpers.sh

variable machdep.smap
# Its RAM, neighbours joined; the list need not be in order.
firmware=$(printf '%s\n' "$value" | while IFS=' ,=' read -r word name type word xattr word base word length; do
    [ "$name,$type" != type,01 ] || echo "$((0x$base)) $((0x$base + 0x$length))"
done)
[ -n "$firmware" ] || skip 'the firmware is no BIOS'

must dump --list-segments
listed=$out
must record machine.json

# Each run of RAM by memtool is a run of the firmware's, and there are as many.
runs=0
while read -r start end; do
    has_line "$firmware" "$((start)) $((end))" || fail "$start-$end is not RAM by the firmware: $value"
    runs=$((runs + 1))
done << END
$(ram_of machine.json)
END
count=0
while read -r start end; do
    count=$((count + 1))
done << END
$firmware
END
equal 'the number of runs' $runs $count

# What is to be dumped is within them.
while read -r start end rest; do
    while read -r from to; do
        [ $((start)) -lt "$from" ] || [ $((end)) -gt "$to" ] || continue 2
    done << END
$firmware
END
    fail "$start-$end is to be dumped, and is not RAM: $value"
done << END
$listed
END

while read -r from to; do
    for range in "$to+4k" "$((to - 4096))-$((to + 1))"; do
        refused 'is not RAM in the kernel' dump --quiet -o ./outside --range "$range"
        [ ! -e outside ] || fail "$last has left a file"
    done
done << END
$firmware
END
