# After a panic the dump is found, saved as savecore(8) does, consistent, cleared on its device, and tells of the panic.
. ../helpers.sh

dump_to_spare_disk
# The kernel tells which one it is: there is no dump on it yet.
try save --check
equal "the exit status without a dump" "$status" 1
holds 'what is said of the device' "$out" "$SPARE_DISK"
sleep 1000 &
echo $! > pid
keep pid pid
sysctl debug.kdb.panic=1
