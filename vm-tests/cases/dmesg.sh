# The messages of the running kernel, and of its live dump, are those that dmesg(8) prints, without and with those of programs.
. ../helpers.sh

need dmesg
# dmesg writes a backslash twice, and other bytes in another form.
plain() {
    while IFS= read -r line; do
        case $line in
        *'\'*) ;;
        *) printf '%s\n' "$line" ;;
        esac
    done
}

# Compares what memtool prints with what dmesg prints before and after it: compare [OPTION]
compare() {
    dmesg "$@" > before || fail "dmesg $* fails"
    try dmesg --quiet "$@"
    dmesg "$@" > after || fail "dmesg $* fails"
    case $err in
    *msgbufp* | *'no symbol'*) skip "the kernel's symbols cannot be had: $err" ;;
    esac
    need_success
    ours=$(printf '%s\n' "$out" | plain)
    [ -n "$ours" ] || fail "$last prints nothing"
    [ "$ours" = "$(plain < before)" ] || equal "$last" "$ours" "$(plain < after)"
}

compare
compare -a
figure "$(plain < before | wc -l | tr -d ' ') lines are those of dmesg -a"

# What is written to the console is a program's message, with a time if the kernel is told to write that.
marker="memtool was here, process $$"
times=$(sysctl -n kern.msgbuf_show_timestamp 2> /dev/null) || times=
[ -z "$times" ] || sysctl kern.msgbuf_show_timestamp=2 > /dev/null || times=
echo "$marker" > /dev/console || skip 'nothing can be written to the console'
[ -z "$times" ] || sysctl "kern.msgbuf_show_timestamp=$times" > /dev/null
case $(dmesg -a) in
*"$marker"*) ;;
*) skip 'the kernel does not keep what is written to the console' ;;
esac
compare -a
case $out in
*"$marker"*) ;;
*) fail "$last does not have '$marker': $out" ;;
esac
must dmesg --quiet
case $out in
*"$marker"*) fail "$last has what a program wrote: $out" ;;
esac
must dmesg --quiet --json --all
holds 'the object' "$out" "\"text\": \"$marker"
holds 'the object' "$out" '"facility": "console"'
refused 'there is no panic among the messages' dmesg --quiet --panic

# A live dump from user space, with the kernel's symbols and without.
variable kern.bootfile
[ -r "$value" ] || skip "the kernel's file $value cannot be read"
kernel=$value
dmesg > before
try livedump --quiet --method user live.dump
[ "$status" -eq 0 ] || skip "there is no live dump: $err"
dmesg > after
must dmesg --quiet --core live.dump --kernel "$kernel"
ours=$(printf '%s\n' "$out" | plain)
[ "$ours" = "$(plain < before)" ] || equal "$last" "$ours" "$(plain < after)"
