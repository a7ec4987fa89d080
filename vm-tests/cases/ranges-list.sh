# The ranges that memtool lists are those that memcontrol(8) lists, in its own words.
. ../helpers.sh

need_ranges
have_memcontrol || skip 'there is no memcontrol(8) to compare with'

must ranges list --memcontrol
equal 'memtool ranges list --memcontrol' "$out" "$(memcontrol list)"
must ranges list --all --memcontrol
equal 'memtool ranges list --all --memcontrol' "$out" "$(memcontrol list -a)"
