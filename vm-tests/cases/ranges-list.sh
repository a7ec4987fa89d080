# The ranges that memtool lists are those that memcontrol(8) lists, in its own words.
. ../helpers.sh

need_ranges
need memcontrol

must ranges list --memcontrol
equal 'memtool ranges list --memcontrol' "$out" "$(memcontrol list)"
must ranges list --all --memcontrol
equal 'memtool ranges list --all --memcontrol' "$out" "$(memcontrol list -a)"
