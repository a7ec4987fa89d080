# A text dump of ddb(4) is saved as savecore(8) does, byte for byte, and cleared on its device.
. ../helpers.sh

need ddb
dump_to_spare_disk
ddb script kdb.enter.panic='textdump set; capture on; show pcpu; capture off; textdump dump; reset' 2> ddb.err ||
    skip "there are no scripts of the debugger: $(show ddb.err)"
sysctl debug.kdb.panic=1
