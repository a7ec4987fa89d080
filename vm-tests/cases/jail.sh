# In a jail memory is not written to (EPERM), its processes only are seen, and where the device is hidden it says so.
. ../helpers.sh

need_carried
variable kern.ps_arg_cache_limit
limit=$value
# in_jail FOLDER PROGRAM ARGUMENT...
in_jail() {
    run "$CARRIED" jail "$@"
}
in_jail / sh -c 'exit 0'
[ "$status" -eq 0 ] || skip "there can be no jail: $err"

in_jail / "$MEMTOOL" write --force ps_arg_cache_limit --as u64 $((limit + 1))
need_failure 'EPERM: writing requires root outside jails'
variable kern.ps_arg_cache_limit
equal 'the variable' "$value" "$limit"

in_jail / "$MEMTOOL" maps -P
equal "the exit status of $last" "$status" 0
holds "memtool's map in a jail" "$out" "$MEMTOOL"
in_jail / "$MEMTOOL" maps $$
need_failure ESRCH

# A folder without devices, and with what the program needs, if it is dynamically linked.
mkdir root root/libexec
dd if="$MEMTOOL" of=root/memtool bs=64k 2> dd.err && chmod 755 root/memtool || fail "$(show dd.err)"
# The dynamic linker itself lists them (rtld(1)), one a line.
libraries=$(LD_TRACE_LOADED_OBJECTS=yes LD_TRACE_LOADED_OBJECTS_FMT1='%p\n' LD_TRACE_LOADED_OBJECTS_FMT2='%p\n' "$MEMTOOL")
for library in $libraries /libexec/ld-elf.so.1; do
    [ -e "$library" ] || continue
    mkdir -p "root/${library%/*}" && dd if="$library" of="root/$library" bs=64k 2> dd.err || fail "$(show dd.err)"
    chmod 755 "root/$library"
done
in_jail "$PWD/root" /memtool --version
[ "$status" -eq 0 ] || skip "memtool does not start in a folder of its own: $err"
in_jail "$PWD/root" /memtool ranges list
need_failure 'ENOENT: the device does not exist; jails usually hide it'
