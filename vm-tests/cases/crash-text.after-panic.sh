# The text dump of the panic is found, saved and cleared.
. ../helpers.sh

save_by_savecore
mkdir crash
must save --verify --dir crash "$SPARE_DISK"
must inspect crash/textdump.tar.0
holds 'what is said of the dump' "$out" 'text'
as_by_savecore textdump.tar.0 info.0
holds 'info.0' "$(show crash/info.0)" 'Panic String: kdb_sysctl_panic'
must dmesg --core crash/textdump.tar.0 --panic
holds 'the messages' "$out" 'panic: kdb_sysctl_panic'
must report -d crash -n 0
holds 'the report' "$out" 'kdb_sysctl_panic'
holds 'the report' "$out" 'cpuid'
refused '' save --check "$SPARE_DISK"
if have tar; then
    tar -xf crash/textdump.tar.0 panic.txt ddb.txt > tar.out 2>&1 || fail "tar does not unpack it: $(show tar.out)"
    holds 'panic.txt' "$(show panic.txt)" kdb_sysctl_panic
    holds 'ddb.txt' "$(show ddb.txt)" cpuid
fi
