# A recording with a process, replayed on the host, shows the map of the process as it was.
. ../helpers.sh

read -r pid < "$RESULTS/pid"
for style in -s -l -m -a -d -x -r; do
    must --machine "$RESULTS/machine.json" maps --quiet $style "$pid"
    [ -n "$out" ] || fail "$last prints nothing"
    equal "the map in the style $style" "$out" "$(show "$RESULTS/live$style")"
done
refused 'is not recorded' --machine "$RESULTS/machine.json" maps $((pid + 1))
