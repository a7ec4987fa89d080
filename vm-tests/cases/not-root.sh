# A user who is not root is refused the device with EACCES, and told why; nothing is written or changed.
. ../helpers.sh

need_nobody
cd nobody || exit

# refused_to_nobody ARGUMENT...
refused_to_nobody() {
    try_as_nobody "$@"
    need_failure EACCES
    holds "the message of $last" "$err" 'accessible to root and group kmem only'
    equal "the output of $last" "$out" ''
}
refused_to_nobody ranges list
refused_to_nobody ranges update --base 0xe00000000 --length 16m --type write-combine
refused_to_nobody paddr 0x1000
refused_to_nobody record ./machine.json
refused_to_nobody dump -o ./ram
refused_to_nobody livedump ./live
refused_to_nobody livedump --method user ./live
refused_to_nobody read ostype
refused_to_nobody ps
refused_to_nobody write --force ps_arg_cache_limit --as u64 1
for file in machine.json ram live; do
    [ ! -e $file ] || fail "nobody has made $file"
done
