# A dump has, at the address that paddr tells, what was written to memory: in each format, compressed or not.
. ../helpers.sh

pages=8
page_size
make_marker marker $pages
must paddr --quiet --file marker --touch
printf '%s\n' "$out" > pages
ranges=$(while read -r address state physical domain; do
    echo --range "$physical+$page"
done < pages)

must dump --quiet $ranges -o ram.raw -m ram.map
dd if=ram.raw of=/dev/null bs="$page" 2> dd.err
holds 'the length of a raw dump by dd' "$(show dd.err)" "$((pages * page)) bytes"
must dump --quiet $ranges --format elf -o ram.elf
must dump --quiet $ranges --format lime -o ram.lime

# Each byte of a padded one is at the offset of its address, so dd finds it. Some systems count holes as used room.
try dump --quiet $ranges --format padded -o ram.padded
case $err in
*'No space left'*) ;;
*)
    need_success
    count=0
    while read -r address state physical domain; do
        equal "what the padded dump has at $physical" "$(page_of ram.padded "$physical")" \
            "$(page_of marker $((count * page)))"
        count=$((count + 1))
    done < pages
    equal 'the number of pages' $count $pages
    ;;
esac

# A padded one is as long as the memory: it goes to the host compressed.
for name in marker page pages ram.raw ram.map ram.elf ram.lime; do
    keep $name $name
done
for format in raw padded elf lime; do
    must_keep ram.$format.gz dump --quiet $ranges --format $format --gzip
    must_keep ram.$format.zst dump --quiet $ranges --format $format --zstd
done
