# sysctl(8) reads what is written to a variable, and what the printed command puts back; amd64's text is refused.
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

# The direct map, through which the kernel writes, has its own text read-only on amd64.
if [ "$(uname -m 2> /dev/null)" != amd64 ]; then
    figure "the kernel's text was not written to: only amd64 has it read-only in its direct map"
    exit 0
fi
must read --as u64 kern_psignal
there=$out
refused 'read-only' write kern_psignal 0000000000000000
refused 'read-only' write --force kern_psignal 0000000000000000
must read --as u64 kern_psignal
equal 'the text' "$out" "$there"
