# The program starts on this kernel; its parts that need no kernel work, threads and zstd among them.
. ../helpers.sh

must --version
case $out in
'memtool '[0-9]*) ;;
*) fail "memtool --version prints: $out" ;;
esac

# A usage error.
try --no-such-option
equal 'the exit status of a wrong command line' "$status" 2

# The built-in machine.
must --machine demo ranges list --memcontrol
holds 'the demo machine' "$out" '0x80000000/0x80000000 BIOS uncacheable set-by-firmware active'

# Threads and zstd: what is compressed on all processors is what it was before.
must --machine demo dump --quiet --range 0x100000+4m --format lime -o plain --manifest manifest.json
must --machine demo dump --quiet --range 0x100000+4m --format lime --zstd -o compressed
must --quiet convert --to lime compressed unpacked
must dump --verify unpacked --manifest manifest.json
