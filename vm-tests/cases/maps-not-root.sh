# A user who is not root sees the map of a process of his own, and not of another user's (EPERM), nor the kernel's.
. ../helpers.sh

need_nobody
try_as_nobody maps -P
equal "the exit status of $last" "$status" 0
holds 'the map' "$out" "$nobody"

try_as_nobody maps $$
need_failure EPERM
equal 'what is shown of it' "$out" ''

# memtool's own process has a set-user-ID. A process that nobody has started is nobody's altogether.
if have su && su -m nobody -c true 2> /dev/null < /dev/null; then
    su -m nobody -c "sleep 100 & '$MEMTOOL' maps \$!; status=\$?; kill \$!; exit \$status" > own 2>&1 ||
        fail "a process of one's own: $(show own)"
    holds "the map of one's own process" "$(show own)" 'sleep'
fi
