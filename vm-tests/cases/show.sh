# What memtool show says of the running kernel is what vmstat(8) and swapinfo(8) say of it: counters lie between their
# values before and after, all else is equal.
. ../helpers.sh

tab=$(printf '\t')
need vmstat swapinfo

# Fails unless a number lies between two others: between WHAT NUMBER BEFORE AFTER
between() {
    case $2 in
    '' | *[!0-9]*) fail "$1 is '$2'" ;;
    esac
    [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] || fail "$1 is $2, which is not between $3 and $4"
}

# Prints the number before a text in a file of vmstat -s; the command puts two blanks into some of them.
counter_in() {
    while read -r counter_number counter_first counter_rest; do
        [ "$counter_first $counter_rest" != "$2" ] || echo "$counter_number"
    done < "$1"
}

vmstat -s > before || fail 'vmstat -s fails'
try_show vmstat-s
vmstat -s > after || fail 'vmstat -s fails'
compared=0
while IFS=$tab read -r number text; do
    case $text in
    # These go up and down.
    'pages active' | 'pages inactive' | 'pages in the laundry'* | 'pages wired'* | 'virtual user'* | *'pages free') continue ;;
    esac
    low=$(counter_in before "$text") high=$(counter_in after "$text")
    [ -n "$low" ] || continue
    between "'$text'" "$number" "$low" "$high"
    compared=$((compared + 1))
done << END
$out
END
[ $compared -gt 30 ] || fail "only $compared counters could be compared: $out"
figure "$compared counters lie between those of vmstat -s"

swapinfo -k > before || fail 'swapinfo fails'
has_swap=no
while read -r device rest; do
    case $device in
    /*) has_swap=yes ;;
    esac
done < before
# Without swap space there is nothing to show.
if [ $has_swap = yes ]; then
    try_show swapinfo
    while IFS=$tab read -r device size used available capacity; do
        found=no
        while read -r other_device other_size other_used other_rest; do
            [ "$other_device $other_size" != "$device $size" ] || found=yes
        done < before
        [ $found = yes ] || fail "swapinfo has no $device of $size KiB: $(show before)"
    done << END
$out
END
fi

# Sizes and limits of zones are equal, and as many allocations as before or more.
vmstat -z > before || fail 'vmstat -z fails'
try_show vmstat-z
vmstat -z > after || fail 'vmstat -z fails'
# Prints size, limit and allocations of a zone, if there is one of that name only.
zone_in() {
    zone_found='' zone_count=0
    while IFS=: read -r zone_name zone_numbers; do
        [ "$zone_name" = "$2" ] || continue
        zone_count=$((zone_count + 1)) zone_found=$zone_numbers
    done < "$1"
    [ $zone_count -ne 1 ] || echo "$zone_found"
}
compared=0
while IFS=$tab read -r name size limit used free requests rest; do
    low=$(zone_in before "$name") high=$(zone_in after "$name")
    [ -n "$low" ] && [ -n "$high" ] || continue
    IFS=', ' read -r low_size low_limit low_used low_free low_requests low_rest << LOW
$low
LOW
    IFS=', ' read -r high_size high_limit high_used high_free high_requests high_rest << HIGH
$high
HIGH
    equal "the size and limit of the zone '$name'" "$size $limit" "$low_size $low_limit"
    between "allocations of the zone '$name'" "$requests" "$low_requests" "$high_requests"
    compared=$((compared + 1))
done << END
$out
END
[ $compared -gt 50 ] || fail "only $compared zones could be compared: $out"
figure "$compared zones are those of vmstat -z"
