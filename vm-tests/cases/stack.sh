# The stacks of the running kernel's threads that sleep have the functions that procstat(1) lists.
. ../helpers.sh

need procstat
# There the kernel names a static function after the global one before it.
[ "$(uname -m)" != powerpc ] || skip "procstat's names are not those of the functions"
variable kern.bootfile
[ -r "$value" ] || skip "the guest's kernel has no file, so that addresses have no names"
tab=$(printf '\t')

# Prints for each thread that sleeps its ID and its functions, innermost first, without offsets: by_procstat FILE
by_procstat() {
    while IFS= read -r line; do
        # PID, TID, and then the command and the thread's name, in which there may be blanks, before the functions.
        rest=${line#"${line%%[! ]*}"}
        rest=${rest#* }
        rest=${rest#"${rest%%[! ]*}"}
        tid=${rest%% *}
        functions=
        for word in $rest; do
            case $word in
            *+0x*) functions="$functions ${word%%+0x*}" ;;
            esac
        done
        # Of riscv the function that switches is listed, too.
        functions=${functions# sched_switch}
        case $functions in
        ' mi_switch '*) printf '%s\t%s\n' "$tid" "${functions# mi_switch }" ;;
        esac
    done < "$1"
}

sleep 1000 &
sleeper=$!
procstat -kk -a > before || fail "procstat -kk fails: $(show before)"
try stack --quiet --all
procstat -kk -a > after || fail "procstat -kk fails: $(show after)"
kill "$sleeper"
case $err in
*allproc* | *symbol*) skip "the kernel's symbols cannot be had: $err" ;;
esac
[ "$status" -le 1 ] || fail "$last: exit status $status: $err"
by_procstat before > before.stacks
by_procstat after > after.stacks

# The same of memtool: up to the entry of the kernel, without what switched.
tid='' functions='' listed=''
finish() {
    [ -z "$tid" ] || listed="$listed
$tid$tab${functions# }"
    tid='' functions=''
}
while IFS= read -r line; do
    case $line in
    'PID '*', TID '*)
        finish
        tid=${line#*, TID }
        tid=${tid%%,*}
        ;;
    # procstat does not know of functions that are inlined.
    '#'*' (inlined)'*) ;;
    '#'*)
        function=${line#\#* 0x}
        function=${function#* }
        function=${function%%+0x*}
        case $function in
        sched_switch | sched_ule_sswitch | sched_4bsd_sswitch | mi_switch | calltrap | fast_syscall_common | fork_trampoline | \
            handle_el* | cpu_exception_handler_* | ?) ;;
        *) functions="$functions $function" ;;
        esac
        ;;
    esac
done << END
$out
END
finish

compared=0
while IFS=$tab read -r tid functions; do
    # What slept in one place all the time.
    has_line "$(show after.stacks)" "$tid$tab$functions" || continue
    ours=
    while IFS=$tab read -r own_tid own_functions; do
        [ "$own_tid" != "$tid" ] || ours=$own_functions
    done << END
$listed
END
    # It ran at that moment.
    [ -n "$ours" ] || continue
    previous=
    for function in $functions; do
        callee=$previous
        previous=$function
        # Above the trap frame of what it interrupted arm64's kernel takes what an earlier call left for a frame.
        case $callee in
        handle_el1h_*) continue ;;
        esac
        case $function in
        fast_syscall_common | fork_trampoline | handle_el* | cpu_exception_handler_*) continue ;;
        # A name that only the assembler gave.
        '$'*) continue ;;
        esac
        case " $ours " in
        *" $function "*) ;;
        *) fail "thread $tid is in '$functions', and memtool says '$ours'" ;;
        esac
    done
    compared=$((compared + 1))
done < before.stacks
[ "$compared" -gt 5 ] || fail "only $compared threads sleep in one place: $(show before)"
figure "$compared stacks of sleeping threads have the functions that procstat lists"

# Process 1 is in a system call, and this one's thread is named by its number and by its command.
must stack --quiet 1
holds 'the stack of init' "$out" 'PID 1, TID '
holds 'the stack of init' "$out" 'from user mode'
refused 'no process or thread' stack no_such_command_at_all
refused 'no thread of the kernel has written a dump' stack
