# A process's memory map is the one that procstat(1) shows: addresses, protection, resident pages and paths.
. ../helpers.sh

need procstat sleep

start_sleep
must maps --quiet -x $pid
equal 'memtool maps -x' "$(memtool_map)" "$wanted"

# The other styles have the same entries, in their own words. Solaris's and Linux's read no more than they show.
set -- $pid
starts=$(echo "$wanted" | while read -r start rest; do printf '%x\n' "$start"; done)
for style in -l -m -a -d; do
    must maps $style "$1"
    listed=$(echo "$out" | while read -r line; do
        case $style,$line in
        -l,* | -m,*) first=${line%%[- ]*} ;;
        -a,[0-9a-f]*-*) first=${line%%-*} ;;
        -d,'- <unknown>: '*) first=${line#*: } && first=${first%%-*} ;;
        *) continue ;;
        esac
        printf '%x\n' $((0x${first#0x}))
    done)
    equal "the addresses that memtool maps $style lists" "$listed" "$starts"
done

# -r has what is between them, and what has no access.
must maps -r "$1"
gaps=$(echo "$wanted" | {
    last=''
    while read -r start end protection rest; do
        [ -z "$last" ] || [ "$start" = "$last" ] || printf '%X %sK\n' "$last" $(((start - last) / 1024))
        [ "$protection" != --- ] || printf '%X %sK\n' "$start" $(((end - start) / 1024))
        last=$end
    done
})
listed=$(echo "$out" | while read -r start size rest; do
    [ "$start" = total ] || printf '%X %s\n' $((0x$start)) "$size"
done)
equal 'what memtool maps -r lists' "$listed" "$gaps"
