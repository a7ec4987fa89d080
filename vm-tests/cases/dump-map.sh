# A dump reads all RAM that a recording lists, and nothing else: its map says so.
. ../helpers.sh

must record machine.json

# Not through a pipe: a guest without KVM takes minutes for that. The map goes to standard error.
status=0
"$MEMTOOL" --quiet dump --map - > /dev/null 2> said || status=$?
equal "memtool dump's exit status" $status 0
err='' last='memtool dump'
while read -r line; do
    case $line in
    0x*) echo "$line" >&3 ;;
    *) err="$err $line" ;;
    esac
done < said 3> ram.map
ram_of machine.json > ram
map_is_ram ram.map ram
[ "$(show ram.map)" != "$(show ram)" ] || equal 'the messages' "$err" ''
