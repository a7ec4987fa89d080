# A text dump of ddb(4) is saved as savecore(8) does, byte for byte, and cleared on its device.
. ../helpers.sh

need ddb
dump_to_spare_disk
ddb script kdb.enter.panic='textdump set; capture on; show pcpu; capture off; textdump dump; reset' 2> ddb.err ||
    skip "there are no scripts of the debugger: $(show ddb.err)"
# Kernels that nobody attends to dump without it.
sysctl debug.debugger_on_panic=1 > /dev/null 2>&1 || skip 'a panic does not enter the debugger'
sysctl debug.kdb.panic=1
