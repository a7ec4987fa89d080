# sysctl(8) reads what is written to a variable, and what the printed command puts back; read-only text is refused.
. ../helpers.sh

variable kern.ps_arg_cache_limit
old=$value
new=$((old + 41))
trap 'sysctl kern.ps_arg_cache_limit="$old" > /dev/null' EXIT

refused 'nothing was written' write ps_arg_cache_limit --as u64 $new
variable kern.ps_arg_cache_limit
equal 'the variable without --force' "$value" "$old"

must write --force ps_arg_cache_limit --as u64 $new
variable kern.ps_arg_cache_limit
equal 'the variable after writing' "$value" $new

back=${out##*to restore the old bytes: memtool }
case $back in
'write --force 0x'*) ;;
*) fail "no command puts the old bytes back: $out" ;;
esac
must $back
variable kern.ps_arg_cache_limit
equal 'the variable with the old bytes' "$value" "$old"

# The direct map, through which the kernel writes, can have its own text read-only on amd64: if the processor has pages of
# 1 GiB, and the machine memory for one. The bytes that are written are those that are there.
if [ "$(uname -m 2> /dev/null)" != amd64 ]; then
    figure "the kernel's text was not written to: only amd64 has it read-only in its direct map"
    exit 0
fi
must read --as u64 kern_psignal
there=$out
refused 'it is mapped r-x' write kern_psignal --as u64 "$there"
try write --force kern_psignal --as u64 "$there"
if [ "$status" -eq 0 ]; then
    figure "the kernel's text is writable in its direct map"
else
    need_failure 'the kernel writes through its direct map'
fi
must read --as u64 kern_psignal
equal 'the text' "$out" "$there"
