# At securelevel 1 memory is read, and not written to.
. ../helpers.sh

variable kern.ps_arg_cache_limit
old=$value
sysctl kern.securelevel=1 > /dev/null || fail 'the securelevel cannot be raised'

refused 'kern.securelevel is 1' write --force ps_arg_cache_limit --as u64 $((old + 1))
variable kern.ps_arg_cache_limit
equal 'the variable' "$value" "$old"

# The kernel's own word; nothing would be written.
if dd if=/dev/null of=/dev/mem 2> dd.err; then fail 'the kernel lets /dev/mem be written to'; fi
holds "dd's message" "$(show dd.err)" 'Operation not permitted'

variable kern.ostype
must read --quiet --as str ostype
equal 'ostype' "$out" "$value"
must paddr --quiet --alloc 4k --lock
