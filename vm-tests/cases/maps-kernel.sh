# The kernel's map is what the kernel lists of it: addresses, protection, and how much superpages map.
. ../helpers.sh

tab=$(printf '\t')
variable hw.machine_arch
[ "$value" = amd64 ] || skip "the list of $value kernels has other columns"

# Prints the kernel's list: start, end, protection, pages of 2 MiB and more in KiB.
by_sysctl() {
    variable vm.pmap.kernel_maps
    echo "$value" | while read -r range protection cache huge large small; do
        case $range in
        0x*-0x*) ;;
        *) continue ;;
        esac
        # g is for global, s for the supervisor.
        echo "$((${range%-*})) $((${range#*-})) ${protection%??} $((huge * 1048576 + large * 2048))"
    done
}

before=$(by_sysctl) || skip "the kernel lists no maps"
must maps --quiet -x 0
after=$(by_sysctl)
listed=$(echo "$out" | while IFS=$tab read -r start size resident private shared superpages protection name; do
    [ "$start" = total ] || echo "$((0x$start)) $((0x$start + size * 1024)) ${protection%?} $superpages"
done)

# The map changes all the time: what was there before and after has to be there.
there=0
while read -r line; do
    has_line "$after" "$line" || continue
    has_line "$listed" "$line" || fail "memtool maps 0 lacks '$line': $listed"
    there=$((there + 1))
done << END
$before
END
[ $there -gt 10 ] || fail "the kernel's map has too little that stays: $before"
