# A user who is not root sees the map of a process of his own, and not of another user's (EPERM), nor the kernel's.
. ../helpers.sh

need_nobody
try_as_nobody maps -P
equal "the exit status of $last" "$status" 0
holds 'the map' "$out" "$MEMTOOL"

try_as_nobody maps $$
need_failure EPERM
equal 'what is shown of it' "$out" ''

# Of another process of one's own: the shell that runs memtool, and waits for it.
run as_nobody sh -c "'$MEMTOOL' maps \$\$; exit \$?"
equal "the exit status of a map of one's own shell" "$status" 0
holds "the map of one's own shell" "$out" '/bin/sh'
