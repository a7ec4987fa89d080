# Every page of locked memory is mapped, at an address of its own in this machine's RAM.
. ../helpers.sh

page_size
must paddr --quiet --alloc $((16 * page)) --lock
pages=$out
must record machine.json
ram=$(ram_of machine.json)

# Prints in how many runs of RAM a page is.
runs_around() {
    echo "$ram" | {
        runs=0
        while read -r start end; do
            [ $(($1)) -lt $((start)) ] || [ $(($1)) -ge $((end)) ] || runs=$((runs + 1))
        done
        echo $runs
    }
}

count=0 seen=''
while read -r address state physical domain; do
    equal "the state of $address" "$state" MAPPED
    [ "$(runs_around "$physical")" -eq 1 ] || fail "$physical is not in RAM: $ram"
    case $domain in
    [0-9]*) ;;
    *) fail "$address is in domain '$domain'" ;;
    esac
    case "$seen " in
    *" $physical "*) fail "two pages are at $physical" ;;
    esac
    seen="$seen $physical" count=$((count + 1))
done << END
$pages
END
equal 'the number of pages' $count 16
