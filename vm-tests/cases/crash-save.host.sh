# The crash dump is what savecore(8) has saved, to the byte, and tells version, panic and processes.
. ../helpers.sh

cd "$RESULTS" || exit
if [ -e vmcore.savecore ]; then
    need cmp
    cmp vmcore vmcore.savecore > cmp.out 2>&1 || fail "the dump and savecore's differ: $(show cmp.out)"
    # Older ones write the time in other words.
    without_time() {
        while IFS= read -r line; do
            case $line in
            *Dumptime:*) ;;
            *) printf '%s\n' "$line" ;;
            esac
        done < "$1"
    }
    equal 'info.0' "$(without_time info)" "$(without_time info.savecore)"
fi

check_panicked
holds_process vmcore sleep
must ps --quiet --threads --core vmcore --kernel kernel
holds 'the thread that dumped' "$out" 'dumping'
must dmesg --quiet --core vmcore --panic
equal 'the first message from the panic on' "${out%%
*}" 'panic: kdb_sysctl_panic'
must stack --quiet --core vmcore --kernel kernel
holds 'the stack of the thread that dumped' "$out" ' kdb_sysctl_panic+'
holds 'the stack of the thread that dumped' "$out" 'from user mode'
