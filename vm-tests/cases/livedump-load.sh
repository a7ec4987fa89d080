# Twenty live dumps of a machine that is busy with memory, processes and disks are consistent, one after another.
. ../helpers.sh

# What runs meanwhile: processes come and go, memory is taken and given back, files are written and removed.
busy() {
    while :; do
        dd if=/dev/zero of=busy.$1 bs=1m count=8 2> /dev/null
        dd if=busy.$1 of=/dev/null bs=64k 2> /dev/null
        for round in 1 2 3 4 5 6 7 8; do (:); done
        "$MEMTOOL" --version > /dev/null
    done
}
busy 1 &
first=$!
busy 2 &
second=$!
trap 'kill $first $second 2> /dev/null; wait' EXIT

count=0
while [ $count -lt 20 ]; do
    case $((count % 2)) in
    0) method=kernel ;;
    1) method=user ;;
    esac
    [ -z "$(kernel_fault none)" ] || method=user
    must livedump --quiet --method $method dump
    must inspect --verify dump
    holds "what is said of dump $count, which the $method made" "$out" 'consistent: everything was read'
    rm -f dump || fail 'the dump cannot be removed'
    count=$((count + 1))
done
