# On the host the guest's live dump has what sysctl and dmesg said, and the case's process.
. ../helpers.sh

cd "$RESULTS" || exit
must inspect --verify live.dump
count=0
while read -r symbol form value; do
    must read --quiet --core live.dump --kernel kernel --as "$form" "$symbol"
    equal "$symbol in the dump" "$out" "$value"
    count=$((count + 1))
done < values
equal 'the number of values' $count 4

must inspect --msgbuf live.dump
holds 'the message buffer' "$out" "$(show dmesg)"

holds_process live.dump sleep
