# A dump that SIGTERM ends leaves no file, whoever makes it; the kernel finishes what it has begun.
. ../helpers.sh

# Whether one of these files is there.
there() {
    for file; do
        [ ! -e "$file" ] || return 0
    done
    return 1
}

for method in user kernel; do
    # What takes longest.
    "$MEMTOOL" livedump --method $method --gzip live.dump > /dev/null 2> try.err &
    pid=$!
    # It is written beside the file that it will be.
    until there .live.dump* || ! kill -0 $pid 2> /dev/null; do :; done
    kill -TERM $pid 2> /dev/null
    wait $pid
    status=$? err=$(show try.err) last="memtool livedump --method $method"
    if [ $status -eq 0 ] && [ -e live.dump ]; then skip 'the dump is made sooner than a signal can be sent'; fi
    case $err in *ENOTTY* | *'built without'*) skip "$err" ;; esac
    equal "the exit status of $last after SIGTERM" $status 1
    if there live.dump .live.dump*; then fail "$last has left $file: $err"; fi
done
