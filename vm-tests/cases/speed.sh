# Figures: dump beside dd over the same memory, and a live dump of memtool's making beside the kernel's.
. ../helpers.sh

need time

# Leaves in $took how many hundredths of a second a command takes: took PROGRAM ARGUMENT...
took() {
    time -p "$@" > /dev/null 2> time.err || fail "$*: $(show time.err)"
    took=
    while read -r word seconds; do
        case $word in
        real) took=${seconds%.*}${seconds#*.} ;;
        esac
    done < time.err
    # Without the zeros that would make it octal.
    while [ "${took#0}" != "$took" ]; do took=${took#0}; done
    took=${took:-0}
}

# In one piece, and not more than half of the machine: the middle, since what the firmware keeps at either end cannot be
# read on every machine.
must record machine.json
size=0
while read -r from to; do
    if [ $((to - from)) -gt "$size" ]; then size=$((to - from)) start=$((from)); fi
done << END
$(ram_of machine.json)
END
mebibytes=$((size / 2097152)) skip=$(((start + size / 4 + 1048575) / 1048576))
[ "$mebibytes" -gt 0 ] || fail 'there is no RAM'

for round in 1 2 3; do
    took dd if=/dev/mem of=/dev/null bs=1m skip=$skip count=$mebibytes
    by_dd=$took
    took "$MEMTOOL" dump --quiet --range "$((skip * 1048576))+${mebibytes}m" --format raw -o -
    figure "$mebibytes MiB in hundredths of a second: dd $by_dd, dump $took"
done
for round in 1 2 3; do
    by=
    for method in kernel user; do
        for compression in none zstd; do
            [ $method = user ] || [ -z "$(kernel_fault $compression)" ] || continue
            took "$MEMTOOL" livedump --quiet --method $method --$compression --force live
            by="$by, $method $compression $took"
        done
    done
    figure "a live dump in hundredths of a second${by#,}"
done
