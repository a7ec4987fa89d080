# A report of the running kernel has this host, a process of the case's with its stack, the messages, and the picture of memory.
. ../helpers.sh

need sleep
start_sleep
variable kern.hostname
host=$value
variable kern.osrelease
release=$value

try report --running --quiet
case $out in
*'no types'*) skip "the kernel's types cannot be had" ;;
esac
holds 'the report' "$out" "FreeBSD $release"
holds 'the report' "$out" "PID $pid, TID "
holds 'the report' "$out" 'sleepq_'
holds 'the report' "$out" 'Connections and other sockets'
[ -z "$host" ] || holds 'the report' "$out" "Report of $host"
case $out in
*'Fatal trap'* | *'did not panic'*) fail "a kernel that runs has no panic: $out" ;;
esac

# What changed while it was read may be missing.
try report --running --quiet --html --output report.html
[ -s report.html ] || fail "there is no page: $err"
page=$(show report.html)
holds 'the page' "$page" '<section id="map"'
holds 'the page' "$page" "PID $pid, TID "
: > report.html
