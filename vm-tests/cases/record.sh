# A recording of this machine, replayed here and on another host, answers as the machine itself does.
. ../helpers.sh

must record machine.json
holds 'the recording' "$(show machine.json)" '"schema": "memtool.machine"'
[ -n "$(ram_of machine.json)" ] || fail "the recording has no RAM"

# Without memory ranges memtool refuses to tell about them; with them it has to.
if has_ranges; then ask=must; else ask=try; fi
$ask ranges list --all --no-join
live="$status $out"
$ask --machine machine.json ranges list --all --no-join
equal 'the replayed table of ranges' "$status $out" "$live"

must --machine machine.json record again.json
equal 'a recording of the recording' "$(show again.json)" "$(show machine.json)"

# For the host: what this machine answers.
keep machine.json machine.json
keep_answer() {
    answer_name=$1
    shift
    "$@"
    {
        echo "$status"
        printf '%s\n' "$out"
    } > answer
    keep answer "$answer_name"
}
keep_answer ranges $ask ranges list --all --no-join
keep_answer memcontrol $ask ranges list --memcontrol
keep_answer segments must dump --list-segments
$ask ranges explain 0x100000
case $out in
# A recording without the processor's registers does not have the reason, either.
*'/dev/cpuctl'*) ;;
*) keep_answer explain : ;;
esac
