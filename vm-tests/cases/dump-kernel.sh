# A dump of the kernel's virtual memory has at a symbol's address what sysctl(8) says; what is not mapped is refused.
. ../helpers.sh

tab=$(printf '\t')
try dump -k --quiet --range 0x1000+4k -o ./low
case $err in
# sysctl(8)'s vm.pmap.kernel_maps.
*'no table that shows whether these addresses are memory'*)
    ! have sysctl || ! sysctl -n vm.pmap.kernel_maps > /dev/null 2>&1 || fail "there is a table: $err"
    skip "$err"
    ;;
esac
for name in ostype osrelease; do
    variable kern.$name
    must symbols $name
    address=${out%%"$tab"*}
    offset=$((address & 4095))
    must dump -k --quiet --range "$(printf '0x%x' $((address - offset)))+8k" -o $name.raw
    equal "what the dump has at $name" "$(dd if=$name.raw bs=1 skip=$offset count=${#value} 2> /dev/null)" "$value"
done

refused "is not memory in the kernel's maps" dump -k --quiet --range 0x1000+4k -o ./low
[ ! -e low ] || fail "$last has left a file"
