# An address where nothing is mapped, and one of the kernel's, are INVALID; memory never touched is VALID.
. ../helpers.sh

tab=$(printf '\t')
must paddr --quiet 0x1000
equal 'page 1' "$out" "0x1000${tab}INVALID${tab}-${tab}-"
must paddr --quiet 0xffffffff80000000
equal "a kernel's page" "$out" "0xffffffff80000000${tab}INVALID${tab}-${tab}-"

must paddr --quiet --alloc 16k
while read -r address state rest; do
    equal "the state of $address" "$state $rest" "VALID -${tab}-"
done << END
$out
END
