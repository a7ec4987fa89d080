# memtool's own map has the program's file, and what the kernel tells of NUMA domains is within what is in memory.
. ../helpers.sh

tab=$(printf '\t')
must maps -P
holds 'the map' "$out" "$MEMTOOL"

must --json maps -P
holds 'the JSON object' "$out" '"schema": "memtool.maps"'
holds 'the JSON object' "$out" "\"path\": \"$MEMTOOL\""

must maps --quiet -x --numa -P
# The entries of the program's file do not change while memtool runs, so each page is in one domain.
count=0
while IFS=$tab read -r start size resident private shared superpages rest; do
    case $rest in
    *"$MEMTOOL") ;;
    *) continue ;;
    esac
    sum=0
    while [ "${rest#[0-9]}" != "$rest" ]; do
        sum=$((sum + ${rest%%"$tab"*})) rest=${rest#*"$tab"}
    done
    [ $sum -le "$resident" ] || fail "in domains are $sum KiB of $resident KiB at $start: $out"
    count=$((count + 1)) mapped=$((mapped + sum))
done << END
$out
END
[ $count -gt 0 ] || fail "nothing of $MEMTOOL is listed: $out"
[ "$mapped" -gt 0 ] || fail "nothing of $MEMTOOL is in any domain: $out"

refused 'calling process only' maps -x --numa 1
