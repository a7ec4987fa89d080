# A dump that SIGTERM ends leaves no file, whoever makes it; the kernel finishes what it has begun.
. ../helpers.sh

# Whether the file is there that is written beside the one that it will be. By its name alone: while the kernel writes
# it, nobody can look at it.
unfinished() {
    set -- .memtool.*.tmp
    [ "$1" != '.memtool.*.tmp' ]
}

for method in user kernel; do
    alive=''
    # What takes longest. It tells its end by a file, since kill -0 may find an ended process for ever.
    {
        sh -c 'echo $$ > pid; exec "$0" "$@"' "$MEMTOOL" livedump --method $method --gzip live.dump > /dev/null 2> try.err
        echo $? > ended.$method
    } &
    until unfinished || [ -e ended.$method ]; do :; done
    [ -e ended.$method ] || kill -TERM "$(show pid)" 2> /dev/null
    ! unfinished || alive=1
    wait
    status=$(show ended.$method) err=$(show try.err) last="memtool livedump --method $method"
    case $err in
    *SIGTERM*) ;;
    *'built without'*) skip "$err" ;;
    *)
        # It came to its end without the signal.
        need_success
        [ -z "$alive" ] || fail "$last made the dump all the same, though SIGTERM came before it was finished"
        skip 'the dump is made sooner than a signal can be sent'
        ;;
    esac
    for file in live.dump .memtool.*.tmp; do
        [ ! -e "$file" ] || fail "$last has left $file: $err"
    done
    need_failure SIGTERM
    case $method,$err in
    user,*'the dump is not complete'* | kernel,*'cannot stop'*) ;;
    # With one processor nothing else may run while the kernel dumps.
    kernel,*'the dump is not complete'*) skip 'the kernel has made its dump sooner than a signal can be sent' ;;
    *) fail "$last does not say what becomes of the dump: $err" ;;
    esac
done
