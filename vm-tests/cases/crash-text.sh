# A text dump of ddb(4) is saved as savecore(8) does, byte for byte, and cleared on its device.
. ../helpers.sh

[ -n "$SPARE_DISK" ] || skip 'there is no disk for a crash dump'
need dumpon ddb
variable debug.kdb.panic
dumpon off 2> /dev/null || :
dumpon "$SPARE_DISK" 2> dumpon.err || skip "$SPARE_DISK is no dump device: $(show dumpon.err)"
ddb script kdb.enter.panic='textdump set; capture on; show pcpu; capture off; textdump dump; reset' 2> ddb.err ||
    skip "there are no scripts of the debugger: $(show ddb.err)"
sysctl debug.kdb.panic=1
