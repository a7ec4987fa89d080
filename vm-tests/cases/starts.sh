# The program starts on this kernel, and its parts that need no kernel work.
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
