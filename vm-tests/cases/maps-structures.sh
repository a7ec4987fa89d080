# A process's memory map from the structures of the running kernel, and of a dump of it, is the one of procstat(1).
# Requires a kernel with types (makeoptions WITH_CTF=1).
. ../helpers.sh

need procstat ps sleep
variable kern.bootfile
kernel=$value
[ -r "$kernel" ] || skip "the kernel's file $kernel cannot be read"

start_sleep

try maps --quiet -x --kernel "$kernel" $pid
case $err in
*' has no types'*) skip "$err" ;;
esac
need_success
equal "memtool maps -x --kernel" "$(memtool_map)" "$wanted"

# The file that the kernel says it came from will do.
must maps -D 31 $pid
for structure in vmspace vm_map vm_map_entry namecache; do
    holds "memtool maps -D 31" "$out" "struct $structure at 0x"
done
must maps -d --kernel "$kernel" $pid
case $out in
'MAP 0x'*'pmap=0x'*' - 0x'*) ;;
*) fail "memtool maps -d --kernel shows no addresses: $out" ;;
esac
must maps --quiet --kernel "$kernel" 0
holds "the kernel's map" "$out" '[ kernel ]'

# Of each process that stays, the addresses are those that the kernel reports.
count=0
for other in $(ps -axo pid=); do
    first=$(procstat_map "$other" 2> /dev/null)
    [ -n "$first" ] || continue
    try maps --quiet -x --kernel "$kernel" "$other"
    [ "$first" = "$(procstat_map "$other" 2> /dev/null)" ] || continue
    need_success
    equal "memtool maps -x --kernel $other" "$(memtool_map)" "$first"
    count=$((count + 1))
done
[ $count -gt 1 ] || fail "only $count processes have not changed"
figure "$count processes have the maps that procstat shows"

must livedump --quiet --zstd live.dump
must maps --quiet -x --core live.dump --kernel "$kernel" $pid
equal 'memtool maps -x --core' "$(memtool_map)" "$wanted"
# The folder can be memory.
: > live.dump
