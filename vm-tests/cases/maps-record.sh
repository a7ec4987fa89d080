# A recording with a process, replayed here and on another host, shows the map of the process as it was.
. ../helpers.sh

need sleep
sleep 1000 &
pid=$!
trap 'kill $pid 2> /dev/null' EXIT
sleep 1

must record machine.json --pid $pid
keep machine.json machine.json
echo $pid > pid
keep pid pid
for style in -s -l -m -a -d -x -r; do
    must maps --quiet $style $pid
    printf '%s\n' "$out" > live$style
    keep live$style live$style
    must --machine machine.json maps --quiet $style $pid
    equal "the replayed map in the style $style" "$out" "$(show live$style)"
done
