# A recording of the guest answers on the host as the guest did.
. ../helpers.sh

same() {
    same_name=$1
    shift
    try --machine "$RESULTS/machine.json" "$@"
    # It says so where it is one.
    out=${out% (recorded machine)}
    # Both lose what newlines they end with, where there is no output.
    equal "exit status and output of $last" "$(printf '%s\n%s' "$status" "$out")" "$(show "$RESULTS/$same_name")"
}
same ranges ranges list --all --no-join
same memcontrol ranges list --memcontrol
same segments dump --list-segments
[ ! -e "$RESULTS/explain" ] || same explain ranges explain 0x100000
