# A recording of this machine, replayed, lists the same ranges and RAM as the machine itself.
. ../helpers.sh

must record machine.json
holds 'the recording' "$(show machine.json)" '"schema": "memtool.machine"'
[ -n "$(ram_of machine.json)" ] || fail "the recording has no RAM"

try ranges list --all --no-join
live="$status $out"
try --machine machine.json ranges list --all --no-join
equal 'the replayed table of ranges' "$status $out" "$live"

must --machine machine.json record again.json
equal 'a recording of the recording' "$(show again.json)" "$(show machine.json)"
