# The dump of the panic is found, saved, consistent, and cleared.
. ../helpers.sh

must save --check "$SPARE_DISK"
holds 'what is on the device' "$out" 'kdb_sysctl_panic'

if have savecore; then
    savecore -C "$SPARE_DISK" > savecore.out 2>&1 || fail "savecore finds no dump: $(show savecore.out)"
    save_by_savecore
fi

# In the place of syslogd(8), where none runs.
log=/var/run/log
if have nc && [ ! -e "$log" ] && [ ! -e /var/run/logpriv ]; then
    nc -k -l -u -U "$log" > syslog.out 2> nc.err &
    listener=$!
    tries=0
    until [ -S "$log" ] || [ "$tries" -ge 10 ]; do
        sleep 1
        tries=$((tries + 1))
    done
    [ -S "$log" ] || fail "nc does not listen: $(show nc.err)"
fi

mkdir crash
must save --verify --dir crash "$SPARE_DISK"
if [ -n "${listener-}" ]; then
    sleep 1
    kill "$listener"
    rm -f "$log"
    logged=$(show syslog.out)
    # daemon.alert and daemon.notice, and who says so.
    holds 'what is logged' "$logged" '<25>'
    holds 'what is logged' "$logged" ' memtool '
    holds 'what is logged' "$logged" 'reboot after panic: kdb_sysctl_panic'
    holds 'what is logged' "$logged" '<29>'
    holds 'what is logged' "$logged" 'wrote core to crash/vmcore.0'
else
    figure 'what is logged was not read: there is no nc(1), or syslogd(8) runs'
fi
must inspect --verify crash/vmcore.0
holds 'what is said of the dump' "$out" 'consistent: everything was read'
info=$(show crash/info.0)
holds 'info.0' "$info" 'Panic String: kdb_sysctl_panic'
variable kern.version
holds 'info.0' "$info" "Version String: ${value%%
*}"
holds 'info.0' "$info" 'Dump Status: good'

# As rc.d/savecore calls the program that crashinfo_program names: it finds the dump and the kernel.
must report -b -d crash
report=$(show crash/core.txt.0)
holds 'core.txt.0' "$report" 'kdb_sysctl_panic'
holds 'core.txt.0' "$report" 'fingerprint  1:'
holds 'core.txt.0' "$report" 'from user mode'
holds 'core.txt.0' "$report" 'Modules'

if have savecore; then
    if savecore -C "$SPARE_DISK" > savecore.out 2>&1; then fail "savecore still finds a dump: $(show savecore.out)"; fi
    keep other/vmcore.0 vmcore.savecore
    keep other/info.0 info.savecore
    # The folder can be memory, which may not hold a third copy.
    : > other/vmcore.0
    # What memtool has cleared is what savecore would have: it takes both headers for equal and right.
    mkdir again
    savecore -f -k "$PWD/again" "$SPARE_DISK" > savecore.out 2>&1 || fail "savecore -f does not save it again: $(show savecore.out)"
    [ -e again/vmcore.0 ] || fail "savecore -f does not save it again: $(show savecore.out)"
    holds 'info.0 of what was cleared' "$(show again/info.0)" 'Dump Status: good'
fi
refused '' save --check "$SPARE_DISK"
must save --dir crash "$SPARE_DISK"
[ ! -e crash/vmcore.1 ] || fail 'what was cleared is saved again'

keep crash/vmcore.0 vmcore
keep crash/info.0 info
keep_kernel
