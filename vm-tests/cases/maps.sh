# A process's memory map is the one that procstat(1) shows: addresses, protection, resident pages and paths.
. ../helpers.sh

need procstat sleep
tab=$(printf '\t')
variable hw.pagesize
page_kib=$((value / 1024))

# What is asked about does nothing meanwhile; it is left alone until it waits.
sleep 1000 &
pid=$!
trap 'kill $pid 2> /dev/null' EXIT
sleep 1

# Prints procstat's map: start, end, protection, KiB in memory, and the path or a hyphen.
by_procstat() {
    procstat -v "$1" | while read -r process start end protection resident rest; do
        [ "$process" = "$1" ] || continue
        # Two columns after those of flags and type may be empty: the path and, on some systems, flags.
        case $rest in
        */*) path=/${rest#*/} ;;
        *) path=- ;;
        esac
        echo "$((start)) $((end)) $protection $((resident * page_kib)) $path"
    done
}

# What memtool says in the same form, of maps -x.
by_memtool() {
    echo "$out" | while IFS=$tab read -r start size resident private shared superpages protection name; do
        [ "$start" != total ] || continue
        case $name in
        /*) path=$name ;;
        *) path=- ;;
        esac
        echo "$((0x$start)) $((0x$start + size * 1024)) ${protection%?} $resident $path"
    done
}

wanted=$(by_procstat $pid)
case $wanted in
*/*sleep*) ;;
*) fail "procstat shows no program: $(procstat -v $pid)" ;;
esac
must maps --quiet -x $pid
equal 'memtool maps -x' "$(by_memtool)" "$wanted"

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
