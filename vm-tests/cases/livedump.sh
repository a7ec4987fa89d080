# The kernel writes a minidump of itself, which memtool checks, names and does not overwrite.
. ../helpers.sh

must livedump --json live.dump
size=${out#*\"size\": }
size=${size%%[!0-9]*}
equal 'what the file begins with' "$(dd if=live.dump bs=17 count=1 2> /dev/null)" 'minidump FreeBSD/'
dd if=live.dump of=/dev/null bs=64k 2> dd.err
holds "the file's length by dd" "$(show dd.err)" "$size bytes"

try livedump live.dump
equal 'the exit status where the file is there already' "$status" 1
holds 'the message' "$err" 'live.dump'

# It can be large, and the folder can be memory.
: > live.dump
