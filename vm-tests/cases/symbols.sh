# A symbol is where kldstat(8) has the kernel; what is there, through translate and /dev/mem, is what sysctl says.
. ../helpers.sh

need kldstat
tab=$(printf '\t')

# Where the kernel's file is loaded.
base='' end=''
while read -r id references at size name; do
    case $name in
    kernel*) base=0x${at#0x} end=$((0x${at#0x} + 0x${size#0x})) ;;
    esac
done << END
$(kldstat)
END
[ -n "$base" ] || skip 'kldstat does not list the kernel'

for name in ostype osrelease; do
    variable kern.$name
    must symbols $name
    IFS=$tab read -r address size kind symbol file << END
$out
END
    equal 'the name' "$symbol" $name
    # Both are negative numbers to the shell.
    if [ $((address)) -lt $((base)) ] || [ $((address)) -ge "$end" ]; then
        fail "$name at $address is not in the kernel at $base: $(kldstat)"
    fi
    # With the NUL, and room for more.
    [ "$size" -gt ${#value} ] || fail "$name has $size bytes, too few for '$value'"

    must translate $name
    physical=${out##*physical address }
    physical=${physical%%,*}
    equal "what /dev/mem has at $physical" \
        "$(dd if=/dev/mem bs=1 skip=$((physical)) count=${#value} 2> /dev/null)" "$value"

    must symbols --addr "$(printf "0x%x" $((address + 2)))"
    holds "what covers the third byte of $name" "$out$tab" "$tab$name+0x2$tab"
    must read --as str $name
    equal "the string $name" "$out" "$value"
done

refused 'no_such_symbol_at_all' symbols no_such_symbol_at_all
refused 'no_such_symbol_at_all' read no_such_symbol_at_all
# Below the kernel's part of the address space nothing is mapped.
refused '' translate 0x7fff00000000
