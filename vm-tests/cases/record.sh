# A recording of this machine, replayed here and on another host, answers as the machine itself does.
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

# For the host: what this machine answers.
keep machine.json machine.json
keep_answer() {
    answer_name=$1
    shift
    try "$@"
    {
        echo "$status"
        printf '%s\n' "$out"
    } > answer
    keep answer "$answer_name"
}
keep_answer ranges ranges list --all --no-join
keep_answer memcontrol ranges list --memcontrol
keep_answer segments dump --list-segments
keep_answer explain ranges explain 0x100000
