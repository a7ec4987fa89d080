# The picture of physical memory has the RAM that dump lists, cache types as ranges explains them, and pages where paddr finds
# them; and a live dump has the same memory and cache types, by what its kernel knows.
. ../helpers.sh

tab=$(printf '\t')
variable kern.bootfile
kernel=$value

# Prints the start, end, kind and domain of the ranges of a layer.
ranges_of() {
    echo "$out" | while IFS=$tab read -r layer start end size kind domain rest; do
        [ "$layer" != "$1" ] || echo "$start $end $kind $domain"
    done
}

must map --quiet
memory=$(ranges_of memory) types=$(ranges_of types)
free=$(ranges_of free)
must dump --list-segments --quiet
listed=$(echo "$out" | while IFS=$tab read -r start end domain size; do echo "$start $end ram $domain"; done)
equal 'the RAM of the map' "$(echo "$memory" | while read -r line; do case $line in *' ram '*) echo "$line" ;; esac; done)" "$listed"

echo "$types" | while read -r start end kind domain; do
    [ -n "$start" ] || continue
    must ranges explain --quiet "$start"
    case $kind in
    default) holds "memtool ranges explain $start" "$out" 'default' ;;
    *) holds "memtool ranges explain $start" "$out" "$start: $kind" ;;
    esac
done || fail 'the cache types of the map differ'

# The pages of a file that is in memory.
echo text > file
must map --quiet --layers process --touch --file file
page=$(ranges_of process)
must paddr --quiet --touch --file file
holds 'the pages of a file' "$out" "${page%% *}"

must livedump --quiet live.dump
try map --quiet --core live.dump --kernel "$kernel"
case $err in
*'no types'* | *CTF*) skip "the kernel's types cannot be had: $err" ;;
esac
equal "the map's exit status" $status 0
equal 'the memory of a live dump' "$(ranges_of memory)" "$memory"
equal 'the cache types of a live dump' "$(ranges_of types)" "$types"
# The guest goes on: free memory is not the same.
[ -z "$free" ] || [ -n "$(ranges_of free)" ] || fail 'the live dump shows no free memory'
# The folder can be memory.
: > live.dump
