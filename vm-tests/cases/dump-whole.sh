# A dump of all RAM has a file's pages where its map says, as many bytes as the map, and the kernel by its page tables.
. ../helpers.sh

page_size
make_marker marker 64
must paddr --quiet --file marker --touch
printf '%s\n' "$out" > pages
must record machine.json
ram_of machine.json > ram
must_keep ram.zst dump --quiet --zstd=1 --map ram.map
map_is_ram ram.map ram
keep_kernel
for name in marker page pages ram.map; do
    keep $name $name
done
