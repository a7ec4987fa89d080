# Under cpuset(1)'s policy for a NUMA domain, memory is in that domain, where vm.phys_segs has its addresses.
. ../helpers.sh

need cpuset
variable vm.ndomains
domains=$value
[ "$domains" -gt 1 ] || skip 'there is one NUMA domain only'
variable vm.phys_segs
segments=$value

# Prints in which domain the kernel's memory has an address.
domain_of() {
    segment_start='' segment_end=''
    while read -r word value; do
        case $word in
        start:) segment_start=$value ;;
        end:) segment_end=$value ;;
        domain:) [ $(($1)) -lt $((segment_start)) ] || [ $(($1)) -ge $((segment_end)) ] || echo "$value" ;;
        esac
    done << END
$segments
END
}

page_size
asked=0
while [ "$asked" -lt "$domains" ]; do
    cpuset -n "first-touch:$asked" true 2> cpuset.err || skip "cpuset has no such policy: $(show cpuset.err)"
    run cpuset -n "first-touch:$asked" "$MEMTOOL" paddr --quiet --alloc $((16 * page)) --lock
    need_success
    count=0
    while read -r address state physical domain; do
        equal "the state of $address" "$state" MAPPED
        equal "the domain of $physical" "$domain" "$asked"
        equal "the kernel's domain for $physical" "$(domain_of "$physical")" "$asked"
        count=$((count + 1))
    done << END
$out
END
    equal "the number of pages in domain $asked" $count 16
    asked=$((asked + 1))
done
