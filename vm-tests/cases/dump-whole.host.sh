# The dump of all RAM has the marker's pages where its map says, and as many bytes as the map.
. ../helpers.sh

cd "$RESULTS" || exit
page_size
# Through the page tables in it, which memtool finds but on powerpc64.
try read --quiet --core ram.zst --kernel kernel --segments ram.map --as str version
case $err in
*'page tables of powerpc64'*) figure "nothing was read by symbol: $err" ;;
*) check_version ram.zst --segments ram.map ;;
esac

need zstd
zstd -q -d -c ram.zst > whole || fail 'the dump cannot be decompressed'

# Prints where in the dump an address is, or behind the last one how long the dump has to be.
offset_of() {
    at=0
    while read -r start end; do
        if [ $(($1)) -ge $((start)) ] && [ $(($1)) -lt $((end)) ]; then
            echo $((at + $1 - start))
            return
        fi
        at=$((at + end - start))
    done < ram.map
    echo $at
}
size=$(offset_of 0x7fffffffffffffff)
count=0
while read -r address state physical domain; do
    offset=$(offset_of "$physical")
    [ "$offset" -lt "$size" ] || fail "$physical is not in the map"
    equal "what the dump has for $physical" "$(dd if=whole bs=1024 skip=$((offset / 1024)) count=$((page / 1024)) 2> /dev/null)" \
        "$(page_of marker $((count * page)))"
    count=$((count + 1))
done < pages
equal 'the number of pages' $count 64
dd if=whole of=/dev/null bs=1024 skip=$((size / 1024 - 1)) 2> dd.err
equal 'what is behind the last KiB but one of the map' "$(bytes_by_dd dd.err)" $((1024 + size % 1024))
