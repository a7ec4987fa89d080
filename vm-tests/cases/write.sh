# sysctl(8) reads what is written to a variable of the kernel, and what the printed command puts back.
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

back=${out##*to put the old bytes back: memtool }
case $back in
'write --force 0x'*) ;;
*) fail "no command puts the old bytes back: $out" ;;
esac
must $back
variable kern.ps_arg_cache_limit
equal 'the variable with the old bytes' "$value" "$old"
