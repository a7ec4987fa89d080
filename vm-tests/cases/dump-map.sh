# A dump reads all RAM that a recording lists, and nothing else: its map says so.
. ../helpers.sh

must record machine.json

# Not through a pipe: a guest without KVM takes minutes for that. The map goes to standard error.
status=0
"$MEMTOOL" --quiet dump --map - > /dev/null 2> ram.map || status=$?
equal "memtool dump's exit status" $status 0
equal 'the map' "$(show ram.map)" "$(ram_of machine.json)"
