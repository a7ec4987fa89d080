# memtool makes a minidump of the kernel, and the kernel one of itself; both are consistent, and none is overwritten.
. ../helpers.sh

must livedump --method user user.dump
must inspect --verify user.dump
holds 'what is said of the dump from user space' "$out" 'consistent: everything was read'

try livedump user.dump
equal 'the exit status where the file is there already' "$status" 1
holds 'the message' "$err" 'user.dump'
: > user.dump

if by_kernel none live.dump --json; then
    size=${out#*\"size\": }
    size=${size%%[!0-9]*}
    equal 'what the file begins with' "$(dd if=live.dump bs=17 count=1 2> /dev/null)" 'minidump FreeBSD/'
    dd if=live.dump of=/dev/null bs=64k 2> dd.err
    holds "the file's length by dd" "$(show dd.err)" "$size bytes"

    must inspect --verify live.dump
    holds 'what is said of the dump' "$out" 'consistent: everything was read'

    try livedump live.dump
    equal 'the exit status where the file is there already' "$status" 1
    holds 'the message' "$err" 'live.dump'
    # It can be large, and the folder can be memory.
    : > live.dump
fi

# Where the kernel's is not right, memtool makes one by itself, and says why.
for compression in none gzip zstd; do
    must livedump --json --$compression auto.$compression
    case $out in
    *'"method": "kernel"'*) ;;
    *) holds "what $last says" "$err" 'memtool makes the dump' ;;
    esac
    must inspect --verify auto.$compression
    holds "what is said of auto.$compression" "$out" 'consistent: everything was read'
    : > auto.$compression
done
