# A symbol is where kldstat(8) has the kernel; what is there, through translate and /dev/mem, is what sysctl says.
. ../helpers.sh

need kldstat
tab=$(printf '\t')

loaded_at 'kernel*'
[ -n "$base" ] || skip 'kldstat does not list the kernel'

for name in ostype osrelease; do
    variable kern.$name
    must symbols $name
    IFS=$tab read -r address size kind symbol file << END
$out
END
    equal 'the name' "$symbol" $name
    need_loaded "$name" "$address"
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
