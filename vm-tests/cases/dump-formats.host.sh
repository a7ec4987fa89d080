# Dumps of the marker's pages, read by their formats' own tables and by memtool, have the marker at its addresses.
. ../helpers.sh

need od
cd "$RESULTS" || exit
page_size

# Prints a number of 8, 4 or 2 bytes, in the order of bytes that $order names: number FILE OFFSET BYTES
number() {
    set -- $(od -A n -v -t u1 -j "$2" -N "$3" "$1")
    number_value=0 number_unit=0
    for number_byte; do
        case $order in
        big) number_value=$(((number_value << 8) + number_byte)) ;;
        *) number_value=$((number_value + (number_byte << number_unit))) ;;
        esac
        number_unit=$((number_unit + 8))
    done
    echo $number_value
}

# Leaves in $order that of a format's numbers: a core file's is the machine's, and its sixth byte tells it.
order_of() {
    order=little
    [ "$1" != elf ] || [ "$(number "$2" 5 1)" -ne 2 ] || order=big
}

# Prints where in a file an address is: offset_in FORMAT FILE ADDRESS
offset_in() {
    at=0
    order_of "$1" "$2"
    case $1 in
    raw)
        while read -r start end; do
            if [ $(($3)) -ge $((start)) ] && [ $(($3)) -lt $((end)) ]; then
                echo $((at + $3 - start))
            fi
            at=$((at + end - start))
        done < ram.map
        ;;
    padded) echo $(($3)) ;;
    lime)
        while [ "$(number "$2" $at 4)" -eq $((0x4c694d45)) ]; do
            start=$(number "$2" $((at + 8)) 8) end=$(number "$2" $((at + 16)) 8)
            if [ $(($3)) -ge "$start" ] && [ $(($3)) -le "$end" ]; then
                echo $((at + 32 + $3 - start))
                break
            fi
            at=$((at + 32 + end + 1 - start))
        done
        ;;
    elf)
        header=$(number "$2" 32 8) size=$(number "$2" 54 2) count=$(number "$2" 56 2)
        while [ $at -lt "$count" ]; do
            start=$(number "$2" $((header + 24)) 8) length=$(number "$2" $((header + 32)) 8)
            kind=$(number "$2" "$header" 4)
            # PT_LOAD
            if [ "$kind" -eq 1 ] && [ $(($3)) -ge "$start" ] && [ $(($3)) -lt $((start + length)) ]; then
                echo $(($(number "$2" $((header + 8)) 8) + $3 - start))
            fi
            at=$((at + 1)) header=$((header + size))
        done
        ;;
    esac
}

# By dd: each page at the place that the format's own table says.
by_dd() {
    count=0
    while read -r address state physical domain; do
        offset=$(offset_in "$1" "$2" "$physical")
        [ -n "$offset" ] || fail "$2 has no place for $physical"
        equal "what $2 has for $physical" "$(dd if="$2" bs=32 skip=$((offset / 32)) count=$((page / 32)) 2> /dev/null)" \
            "$(page_of marker $((count * page)))"
        count=$((count + 1))
    done < pages
    [ $count -eq 8 ] || fail "$count pages were compared"
}

# By memtool, which makes one in which each byte is at the offset of its address.
by_memtool() {
    segments=
    [ "$1" != raw ] || segments='--segments ram.map'
    must --quiet convert --force --format padded $segments "$2" converted
    by_dd padded converted
}

for format in raw elf lime; do
    by_dd $format ram.$format
    by_memtool $format ram.$format
done
for format in raw padded elf lime; do
    for ending in gz zst; do
        by_memtool $format ram.$format.$ending
    done
    if have gzip; then
        gzip -d -c ram.$format.gz > unpacked || fail "ram.$format.gz cannot be decompressed"
        by_dd $format unpacked
    fi
    if have zstd; then
        zstd -q -d -c ram.$format.zst > unpacked || fail "ram.$format.zst cannot be decompressed"
        by_dd $format unpacked
    fi
done
