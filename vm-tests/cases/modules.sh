# Symbols of a module that was loaded are where kldstat(8) has the module, by name and by address, in a live dump too.
. ../helpers.sh

need kldload kldstat
tab=$(printf '\t')
# A module and a function of it.
while read -r module name; do
    if kldload "$module" 2> kldload.err; then break; fi
    module=
done << 'END'
accf_data sohasdata
if_disc disc_clone_create
if_edsc edsc_clone_create
END
[ -n "$module" ] || skip "no module can be loaded: $(show kldload.err)"
trap 'kldunload "$module" 2> /dev/null' EXIT

loaded_at "$module.ko"
[ -n "$base" ] || fail "kldstat does not list $module: $(kldstat)"

# Where the function is by one of the ways to ask: address_of ARGUMENT...
address_of() {
    must symbols "$@" "$name"
    IFS=$tab read -r address size kind symbol file << END
$out
END
    equal "what $last finds" "$symbol" "$name"
}
address_of
need_loaded "$name" "$address"
known=$address
must symbols --addr "$(printf "0x%x" $((address + 1)))"
holds "what covers the second byte of $name" "$out$tab" "$tab$name+0x1$tab"
must symbols "${name%?}?"
holds "what the pattern of $name finds" "$out$tab" "$tab$name$tab"
must translate "$name"
holds "where $name lies" "$out" 'physical address '

kernel_file=$(sysctl -n kern.bootfile 2> /dev/null) && [ -r "$kernel_file" ] || exit 0
must livedump --quiet dump
address_of --core dump --kernel "$kernel_file"
equal "where $last has it" "$address" "$known"
