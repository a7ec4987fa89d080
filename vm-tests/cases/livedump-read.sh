# A live dump has the kernel's variables as sysctl(8) has them, the messages of dmesg(8), and a process of the case's.
. ../helpers.sh

need sleep
variable kern.bootfile
kernel=$value
[ -r "$kernel" ] || skip "the kernel's file $kernel cannot be read"

# What is kept of sysctl's answers: the symbol, how to read it, and the value.
for symbol in 'ostype str kern.ostype' 'osrelease str kern.osrelease' 'maxproc u32 kern.maxproc' \
    'ps_arg_cache_limit u64 kern.ps_arg_cache_limit'; do
    set -- $symbol
    variable "$3"
    echo "$1 $2 $value"
done > values

sleep 1000 &
pid=$!
trap 'kill $pid 2> /dev/null' EXIT
sleep 1
echo $pid > pid
have dmesg && dmesg > dmesg || : > dmesg

must livedump --quiet live.dump
read_it() {
    while read -r symbol form value; do
        must read --quiet --core live.dump --kernel "$kernel" --as "$form" "$symbol"
        equal "$symbol in the dump" "$out" "$value"
    done < values
}
read_it

keep "$kernel" kernel
for name in live.dump values dmesg pid; do
    keep $name $name
done
# The folder can be memory.
: > live.dump
