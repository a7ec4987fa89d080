# There is no map of a process that is not there (ESRCH), nor of a kernel process; the other processes are listed.
. ../helpers.sh

must maps $$
map=$out

# A PID that was given, and is free again.
sh -c : &
gone=$!
wait $gone
refused ESRCH maps $gone
try maps $gone $$
equal "the exit status where one of two is not there" "$status" 1
holds 'the message' "$err" ESRCH
holds 'the output' "$out" "$$: "

# The kernel's own threads have no map but the kernel's.
need ps
kernel_process=$(ps -ax -o pid= -o ucomm= | while read -r pid name; do
    [ "$name" != syncer ] || echo "$pid"
done)
[ -n "$kernel_process" ] || skip 'ps lists no process of the kernel'
refused "process $kernel_process is a kernel process" maps "$kernel_process"
