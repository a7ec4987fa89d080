# After a panic the dump is found, saved as savecore(8) does, consistent, cleared on its device, and tells of the panic.
. ../helpers.sh

[ -n "$SPARE_DISK" ] || skip 'there is no disk for a crash dump'
need dumpon
variable debug.kdb.panic
# Not to one that the system has configured.
dumpon off 2> /dev/null || :
dumpon "$SPARE_DISK" 2> dumpon.err || skip "$SPARE_DISK is no dump device: $(show dumpon.err)"
# The kernel tells which one it is: there is no dump on it yet.
try save --check
equal "the exit status without a dump" "$status" 1
holds 'what is said of the device' "$out" "$SPARE_DISK"
sleep 1000 &
echo $! > pid
keep pid pid
sysctl debug.kdb.panic=1
