# What the cases share, in the guest and on the host. Nothing here needs more than sh and dd: what sh does not build
# in may be missing.

kept=$PWD/.kept

fail() {
    printf '%s\n' "$*"
    exit 1
}

skip() {
    printf 'skip: %s\n' "$*"
    exit 77
}

# Prints a line that the report has even where the case passes.
figure() {
    printf 'figure: %s\n' "$*"
}

# Prints a file.
show() {
    while IFS= read -r show_line || [ -n "$show_line" ]; do
        printf '%s\n' "$show_line"
    done < "$1"
}

# Runs memtool; leaves its exit status, output and messages in $status, $out and $err.
try() {
    run "$MEMTOOL" "$@"
    last="memtool $*"
}

# The same as nobody, after need_nobody.
try_as_nobody() {
    run as_nobody "$MEMTOOL" "$@"
    last="memtool $* as nobody"
}

# Runs 'memtool show' with a section, which may warn of what changed while it was read; skips if the kernel's types cannot be
# had.
try_show() {
    try show --quiet "$1"
    case $err in
    *'no types'* | *'no symbol'* | *CTF*) skip "the kernel's types cannot be had: $err" ;;
    esac
    [ -n "$out" ] || fail "$last shows nothing: $err"
}

# Starts a process that does nothing, which is left alone until it waits; leaves its ID in $pid, and its map by procstat(1)
# in $wanted.
start_sleep() {
    sleep 1000 &
    pid=$!
    trap 'kill $pid 2> /dev/null' EXIT
    sleep 1
    wanted=$(procstat_map $pid)
    case $wanted in
    */*sleep*) ;;
    *) fail "procstat shows no program: $(procstat -v $pid)" ;;
    esac
}

# Prints the map of a process as procstat(1) shows it: start, end, protection, KiB in memory, and the path or a hyphen.
procstat_map() {
    variable hw.pagesize
    procstat -v "$1" | while read -r map_process map_start map_end map_protection map_resident map_rest; do
        [ "$map_process" = "$1" ] || continue
        # Two columns after those of flags and type may be empty: the path and, on some systems, flags.
        case $map_rest in
        */*) map_path=/${map_rest#*/} ;;
        *) map_path=- ;;
        esac
        echo "$((map_start)) $((map_end)) $map_protection $((map_resident * value / 1024)) $map_path"
    done
}

# The same of what 'memtool maps -x' has left in $out.
memtool_map() {
    map_tab=$(printf '\t')
    echo "$out" | while IFS=$map_tab read -r map_start map_size map_resident map_rest; do
        [ "$map_start" != total ] || continue
        # Private, shared and mapped by superpages.
        map_rest=${map_rest#*"$map_tab"*"$map_tab"*"$map_tab"}
        map_protection=${map_rest%%"$map_tab"*} map_path=${map_rest#*"$map_tab"}
        case $map_path in
        /*) ;;
        *) map_path=- ;;
        esac
        echo "$((0x$map_start)) $((0x$map_start + map_size * 1024)) ${map_protection%?} $map_resident $map_path"
    done
}

# The same with any program.
run() {
    status=0
    "$@" > try.out 2> try.err || status=$?
    out=$(show try.out)
    err=$(show try.err)
    last=$*
}

# Runs memtool, which has to fail with exit status 1 and this in its message: refused PART ARGUMENT...
refused() {
    refused_part=$1
    shift
    try "$@"
    need_failure "$refused_part"
}

need_failure() {
    [ "$status" -eq 1 ] || fail "$last: exit status $status, where 1 is expected: $out $err"
    holds "the message of $last" "$err" "$1"
}

# Runs memtool, which has to succeed. A kernel that is too old to know the operation is a reason to skip.
must() {
    try "$@"
    need_success
}

need_success() {
    [ "$status" -eq 0 ] && return 0
    case $err in
    *ENOTTY*) ! is_too_old || skip "the kernel is too old: $err" ;;
    esac
    fail "$last: exit status $status: $err"
}

# Whether the kernel is older than the FreeBSD that brought the operation of $last, by its own account
# (__FreeBSD_version). Where it gives none, memtool is believed.
is_too_old() {
    old_kernel=$(sysctl -n kern.osreldate 2> /dev/null) || old_kernel=$(uname -K 2> /dev/null)
    case $old_kernel in
    '' | *[!0-9]*) return 0 ;;
    esac
    case "$last " in
    # MEM_KERNELDUMP, in 14.0.
    *' livedump '*) [ "$old_kernel" -lt 1400097 ] ;;
    # MEM_EXTRACT_PADDR, in 13.0.
    *' paddr '*) [ "$old_kernel" -lt 1300139 ] ;;
    *) return 1 ;;
    esac
}

# Keeps a file of the guest's for the host, or for '-' what comes on standard input, of any length:
#   keep FILE NAME
#   producer | keep - NAME || exit 1
# It goes to the disk for results (src/results.rs has the format).
keep() {
    case $2 in
    '' | [.-]* | *[!A-Za-z0-9._-]*) fail "no name for a file that is kept: '$2'" ;;
    esac
    keep_block=1 keep_unit=1
    [ ! -e "$kept" ] || read -r keep_block keep_unit < "$kept"
    [ "$keep_block" -lt 256 ] || fail 'more files are kept than fit into the table'
    [ "$1" = - ] || [ -r "$1" ] || fail "$1 cannot be kept: there is no such file"
    {
        if [ "$1" = - ]; then dd bs=64k; else dd if="$1" bs=64k; fi 2> "$kept.read"
        echo $? > "$kept.status"
        keep_length=$(bytes_by_dd "$kept.read")
        # A disk takes whole sectors only.
        dd if=/dev/zero bs=$((1048576 - keep_length % 1048576)) count=1 2> /dev/null
    } | dd of="$RESULTS_DISK" ibs=64k obs=1048576 seek="$keep_unit" conv=notrunc 2> "$kept.written" ||
        fail "$2 cannot be kept: $(show "$kept.written")"
    read -r keep_status < "$kept.status"
    keep_length=$(bytes_by_dd "$kept.read")
    case $keep_status,$keep_length in
    0,[0-9]*) ;;
    *) fail "$1 cannot be read, or dd does not tell how long it is: $(show "$kept.read")" ;;
    esac
    echo "file $2 $keep_unit $keep_length" |
        dd of="$RESULTS_DISK" bs=4096 seek="$keep_block" conv=sync,notrunc 2> "$kept.written" ||
        fail "$2 cannot be kept: $(show "$kept.written")"
    echo $((keep_block + 1)) $((keep_unit + keep_length / 1048576 + 1)) > "$kept"
}

# Prints how many bytes dd copied, by its messages in a file.
bytes_by_dd() {
    while read -r dd_number dd_word dd_rest; do
        case $dd_word in
        byte | bytes) echo "$dd_number" ;;
        esac
    done < "$1"
}

# Runs memtool, which has to succeed, and keeps its output: must_keep NAME ARGUMENT...
must_keep() {
    keep_name=$1
    shift
    {
        status=0
        "$MEMTOOL" "$@" 2> try.err || status=$?
        echo $status > try.status
    } | keep - "$keep_name" || exit 1
    read -r status < try.status
    out=
    err=$(show try.err)
    last="memtool $*"
    need_success
}

# Leaves in $base and $end where kldstat(8) has the file of a name or pattern; nothing where it does not list it.
loaded_at() {
    base='' end=''
    while read -r id references at size file; do
        case $file in
        $1) base=0x${at#0x} end=$((0x${at#0x} + 0x${size#0x})) ;;
        esac
    done << END
$(kldstat)
END
}

# An address is where loaded_at has found something: need_loaded WHAT ADDRESS
need_loaded() {
    # Both are negative numbers to the shell.
    if [ $(($2)) -lt $((base)) ] || [ $(($2)) -ge "$end" ]; then
        fail "$1 at $2 is not at $base, where it is loaded: $(kldstat)"
    fi
}

# Whether the guest has a command.
have() {
    command -v "$1" > /dev/null
}

# Skips the case where one of these commands is missing.
need() {
    for need_command; do
        have "$need_command" || skip "there is no $need_command"
    done
}

# Leaves the value of a sysctl variable in $value.
variable() {
    need sysctl
    value=$(sysctl -n "$1" 2> /dev/null) || skip "there is no $1"
}

# Keeps the kernel's file and its version, where they can be had, for the host to read a dump by symbol.
keep_kernel() {
    have sysctl || return 0
    sysctl -n kern.version > version
    kernel_file=$(sysctl -n kern.bootfile)
    [ -r "$kernel_file" ] || return 0
    keep version version
    keep "$kernel_file" kernel
}

# Prints why memtool says that kernels, as late as FreeBSD 15.1, make no right live dump of themselves with a
# compression; nothing where they do: kernel_fault COMPRESSION
kernel_fault() {
    case $(uname -m 2> /dev/null) in
    riscv | i386 | powerpc) echo 'a bitmap into their live dumps that differs' && return ;;
    esac
    page_size
    [ "$1" != zstd ] || [ "$page" -le 4096 ] || echo 'more than 4096 bytes'
}

# Has the kernel make a live dump, and tells whether there is one: where it is known to make no right one, memtool may
# refuse it, by that reason: by_kernel COMPRESSION FILE [OPTION...]
by_kernel() {
    kernel_compression=$1 kernel_file=$2
    shift
    try livedump --method kernel "--$kernel_compression" "$@"
    case $err in *'the kernel cannot compress'*) skip "$err" ;; esac
    fault=$(kernel_fault "$kernel_compression")
    if [ "$status" -eq 0 ] || [ -z "$fault" ]; then
        need_success
        return 0
    fi
    need_failure "$fault"
    [ ! -e "$kernel_file" ] || fail "$last has left a file"
    return 1
}

# On the host: the version in a dump is what sysctl said: check_version DUMP ARGUMENT...
check_version() {
    [ -e "$RESULTS/kernel" ] || return 0
    version_dump=$1
    shift
    must read --quiet --core "$version_dump" --kernel "$RESULTS/kernel" "$@" --as str version
    equal "the version in $version_dump" "$out" "$(show "$RESULTS/version")"
}

# On the host: the dump has the process whose ID the case kept as `pid`: holds_process DUMP NAME
holds_process() {
    must ps --quiet --core "$1" --kernel "$RESULTS/kernel"
    process_id=$(show "$RESULTS/pid")
    # Behind the ID are other columns if the kernel's types are known, and then its command in place of its name.
    process_line=$(echo "$out" | while read -r process_pid process_rest; do
        [ "$process_pid" != "$process_id" ] || echo "$process_rest"
    done)
    holds "process $process_id in $1" "$process_line" "$2"
}

# Runs a program as a user who is not root and whom nothing belongs to, but for the folder `nobody`.
as_nobody() {
    "$CARRIED" as 65534 "$@"
}

# Makes the folder `nobody`, and skips where no other user can be had.
need_nobody() {
    need_carried
    mkdir nobody && chmod 777 nobody || fail 'there is no folder for nobody'
    echo private > private && chmod 600 private
    as_nobody sh -c ':' || skip 'no program can be run as another user'
    as_nobody "$MEMTOOL" --version > /dev/null 2> nobody.err || fail "nobody cannot run memtool: $(show nobody.err)"
    if as_nobody sh -c 'read -r line < private' 2> /dev/null; then fail 'nobody reads what is private'; fi
}

need_carried() {
    [ -n "$CARRIED" ] || skip 'only memtool was brought along (--carried)'
}

# Where there is a memcontrol(8), fails unless the kernel refuses it too: memcontrol_refused MESSAGE ARGUMENT...
memcontrol_refused() {
    have memcontrol || return 0
    memcontrol_message=$1
    shift
    if kernel=$(memcontrol "$@" 2>&1); then
        fail "$last is refused, but the kernel takes: memcontrol $*"
    fi
    holds "memcontrol's message" "$kernel" "$memcontrol_message"
}

# Whether the machine has memory ranges, by memcontrol(8)'s account too.
has_ranges() {
    try ranges list
    [ "$status" -ne 0 ] || return 0
    case $err in
    *EOPNOTSUPP* | *ENXIO*) ;;
    # What a kernel says that is not for x86, from FreeBSD 13.0 on.
    *ENOTTY*) ! is_x86 || fail "$last: exit status $status: $err" ;;
    *) fail "$last: exit status $status: $err" ;;
    esac
    if have memcontrol && memcontrol list > /dev/null 2>&1; then
        fail "memcontrol lists ranges, memtool does not: $err"
    fi
    return 1
}

# Skips the case where the machine has none.
need_ranges() {
    has_ranges || skip "the machine has no memory ranges: $err"
}

is_x86() {
    case $(uname -m 2> /dev/null) in
    amd64 | i386) ;;
    *) return 1 ;;
    esac
}

# Fails unless both are the same text: equal WHAT HAVE WANT
equal() {
    [ "$2" = "$3" ] || fail "$1:
$2
but expected is:
$3"
}

# Fails unless TEXT holds PART: holds WHAT TEXT PART
holds() {
    case $2 in
    *"$3"*) ;;
    *) fail "$1 does not hold '$3': $2" ;;
    esac
}

# Whether one of these lines is LINE: has_line LINES LINE
has_line() {
    case "
$1
" in
    *"
$2
"*) ;;
    *) return 1 ;;
    esac
}

# Leaves in $page how many bytes a page of the guest's has; on the host that of the case's file `page`.
page_size() {
    if [ -n "${RESULTS-}" ]; then
        page=$(show "$RESULTS/page")
    else
        page=$(sysctl -n hw.pagesize 2> /dev/null) || page=4096
        echo "$page" > page
    fi
}

# Makes a file of so many pages of text, each another one, after page_size: make_marker FILE PAGES
make_marker() {
    marker_page=0
    while [ "$marker_page" -lt "$2" ]; do
        printf "%$((page - 1))s\\n" "page $marker_page of $1, written by process $$"
        marker_page=$((marker_page + 1))
    done > "$1"
}

# Prints a page of a file, or of what begins at an address of a device, after page_size: page_of FILE ADDRESS
page_of() {
    dd if="$1" bs="$page" skip=$(($2 / page)) count=1 2> /dev/null
}

# Prints the RAM of a recorded machine as lines '0xSTART 0xEND', neighbours joined.
ram_of() {
    ram_within='' ram_from='' ram_to=''
    while read -r ram_line; do
        ram_value=${ram_line#*: \"}
        ram_value=${ram_value%%\"*}
        case $ram_within,$ram_line in
        ,'"segments": ['*) ram_within=1 ;;
        1,'"start": '*) ram_start=$ram_value ;;
        1,'"end": '*)
            if [ "$ram_start" != "$ram_to" ]; then
                [ -z "$ram_to" ] || echo "$ram_from $ram_to"
                ram_from=$ram_start
            fi
            ram_to=$ram_value
            ;;
        1,']'*) break ;;
        esac
    done < "$1"
    [ -z "$ram_to" ] || echo "$ram_from $ram_to"
}

# The map of a dump of all RAM is all RAM. On riscv the direct map leaves out RAM that the firmware keeps: memtool has
# then said in $err that it could not be read, and what is missing is nothing that the kernel gives to anyone:
# map_is_ram MAP RAM
map_is_ram() {
    [ "$(uname -m 2> /dev/null)" = riscv ] && [ "$(show "$1")" != "$(show "$2")" ] || {
        equal 'the map' "$(show "$1")" "$(show "$2")"
        return
    }
    holds "the message of $last" "$err" 'of RAM could not be read'
    need sysctl
    sysctl -n vm.phys_segs | while read -r managed_word managed_value; do
        case $managed_word in
        start:) managed_start=$managed_value ;;
        end:) echo "$managed_start $managed_value" ;;
        esac
    done > managed
    [ -s managed ] || fail 'there is no vm.phys_segs'
    within managed "$1"
    within "$1" "$2"
}

# Fails unless each range that a file lists lies in one that the other file does: within FILE FILE
within() {
    while read -r within_start within_end; do
        while read -r within_from within_to; do
            if [ $((within_start)) -ge $((within_from)) ] && [ $((within_end)) -le $((within_to)) ]; then
                continue 2
            fi
        done < "$2"
        fail "$within_start-$within_end of $1 is in no range of $2: $(show "$2")"
    done < "$1"
}

# Writes the key pair of the tests to the files public and private. It protects nothing: everybody has it.
write_keys() {
    cat_to public << 'END'
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtaXpW3zer3yI+Hej8dbt
F5rJf0YJRl3sDlw96yNLuc0R5xIM/NsSXOYc69ps9WbatZUzO3MpsP4p03ZJwalU
ibi0aq0be2qZnx2bNH9XE/i+4QnqAD0H2/9G9qeFURf//6SUCCc8czfB/Z1TppAe
50euEAVaXje/1HOUsEbZ5SPsafyFl+Mfm3YspKj1Fw2ZnfM3czbPm8acmXmyVRN2
yYoN56/pKzJL616HXE25RT/ScWiLacN/d05OMbow5/h0m20Rta5qKemsKTe2+Fjm
AbtaqLd4qM4ctudPQlxk0nvlGws7OW2X5L82uH3E2514jDUwL7DOAYmefs0ss3az
tQIDAQAB
-----END PUBLIC KEY-----
END
    cat_to private << 'END'
-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEAtaXpW3zer3yI+Hej8dbtF5rJf0YJRl3sDlw96yNLuc0R5xIM
/NsSXOYc69ps9WbatZUzO3MpsP4p03ZJwalUibi0aq0be2qZnx2bNH9XE/i+4Qnq
AD0H2/9G9qeFURf//6SUCCc8czfB/Z1TppAe50euEAVaXje/1HOUsEbZ5SPsafyF
l+Mfm3YspKj1Fw2ZnfM3czbPm8acmXmyVRN2yYoN56/pKzJL616HXE25RT/ScWiL
acN/d05OMbow5/h0m20Rta5qKemsKTe2+FjmAbtaqLd4qM4ctudPQlxk0nvlGws7
OW2X5L82uH3E2514jDUwL7DOAYmefs0ss3aztQIDAQABAoIBAAYza4Fq8gyO1WlP
sD2LJxQcIjxYYVo+zmh5FqO9L8lgKkE3dHWeIk37+m3EuG+f35a9JFpeQftx/ko+
WEamgu6iD5hWFuXdlMvvhQLoRROAPofe0tdaPgCDXXS4zNVXo+V9jdmK1MaFRPeu
VCUPrtr1CtHBC+IwyEuR/IEQSPhaq600HnDQzRiWfL3qncUOW7p7WyZS3BM/93kP
M3iRAe4hYMdWr3uhRc6YusN7J8WIiFxoDwZc+LIg7jACzKi41hQRfjRLOBK8pTsc
+WDeg3FQofYuGvbr0vsudCs0jwL+id1p8TcPh8K9m/WcbC42ns90PQ95KhPe45xV
O91cP+ECgYEA9EainohWc6iynPaU3PnJePDDQVCrEwq7lIGC53D+Ji96ahR5yq+I
gZoCWnfy+0YAXNHn+9psDpHxzJ/0E73h1Hli82NxaqCJjQNzLHCCQtrtZwMNjOv3
oabbF5x8sWASvRkwZrSFwmHLFA/EDEqnEeRDalC3A3A8hikUnRJBOpECgYEAvl3I
K4/DUB/UsiZyz6UzO7lt/ay/0jKBIOe4jGQMh19deDYbF/cmn0RYAa30BbSbIvbF
WzGLMDuPbFEqFpUUQOg2Z1Fp0fVcwgXHKm/rQ5lriVk8CXxj1cM5lKjjaVDm8fQh
EOd1DwNn453ieReaB8U1N+pHRQJ9mSv23nfQUOUCgYEA3uwXO9XwD1zEo7nj4EWU
N2qAxfp4JMiGpuAKNmxHg1GQxX4qJ25JhPynaShN9kHL0uk8a/rI4gMOR08xz1JZ
5S1hv/vgZQ5cePPNB6ElPx3LyVZf51rwgfVjvAhzQuwKLcfvA8t6xgm46nX4077M
+Ob3Hu7KFbk3gre6uB0QqgECgYByCgRL9EdwzGDCiD3nHnPep2q4uLAA37hzWd04
XQcUYZDA3sjERo6ggnSmLOsuL89v1pzL0JYtQsDchpLMDGqhp3pP0nmuCWqT4Jo7
Veh+Cn5dPVO16wpzmAv6fmIdSRXQhAr68W0ynTuzI3X0TKs9VGpZIMOpF6DeDXRK
OURV8QKBgE9zzbxXUlHtlM6Y0p3u2TsCeKdz4Tf192le3NbVjwuKO8sJJvosfXRl
lXy6+WTMh3vsdYUyZTpSO56k0/0EKx9UnbUWZ/JbuKk3vHDCV45AZOLkYYxosSD5
fIC0qv3e68yFu2WvAfxl25wXAe4nHM7qyS4WPqva7ma0UUTpX7Qn
-----END RSA PRIVATE KEY-----
END
}

# Writes what comes on standard input to a file: cat_to FILE
cat_to() {
    dd of="$1" 2> dd.err || fail "$1 cannot be written: $(show dd.err)"
}

# Makes the spare disk the dump device, with these options of dumpon(8)'s, of a kernel that can be panicked.
dump_to_spare_disk() {
    [ -n "$SPARE_DISK" ] || skip 'there is no disk for a crash dump'
    need dumpon
    variable debug.kdb.panic
    # Not to one that the system has configured.
    dumpon off 2> /dev/null || :
    dumpon "$@" "$SPARE_DISK" 2> dumpon.err || skip "dumpon does not take $* $SPARE_DISK: $(show dumpon.err)"
}

# The same for encrypted dumps, and panics the kernel.
dump_encrypted() {
    write_keys
    dump_to_spare_disk -k public "$@"
    keep_kernel
    sysctl debug.kdb.panic=1
}

# Has savecore(8), where there is one, save the dump on the spare disk into the folder `other`, and leave it there:
# save_by_savecore [OPTION...]
save_by_savecore() {
    have savecore || return 0
    mkdir -p other
    # It changes into the directory first.
    savecore "$@" -k "$PWD/other" "$SPARE_DISK" > savecore.out 2>&1 || fail "savecore does not save it: $(show savecore.out)"
}

# Files in the folder `crash` are what savecore(8) has saved: as_by_savecore FILE...
as_by_savecore() {
    have savecore || return 0
    need cmp
    for file; do
        cmp "crash/$file" "other/$file" > cmp.out 2>&1 || fail "$file is another one than savecore's: $(show cmp.out)"
    done
}

# The encrypted dump is saved as savecore(8) does, and decrypted as decryptcore(8) does; it is consistent. The suffix of
# the decrypted file's name is .zst or nothing: check_encrypted SUFFIX
check_encrypted() {
    write_keys
    save_by_savecore
    mkdir crash
    must save --dir crash "$SPARE_DISK"
    encrypted=vmcore_encrypted.0
    [ -e "crash/$encrypted" ] || fail "there is no crash/$encrypted"
    as_by_savecore "$encrypted" key.0 info.0
    if have savecore; then
        for link in "vmcore_encrypted.last$1" key.last info.last; do
            equal "$link" "$(readlink "crash/$link")" "$(readlink "other/$link")"
        done
    fi
    must decrypt --private-key private --number 0 --dir crash
    must inspect --verify "crash/vmcore.0$1"
    holds 'what is said of the dump' "$out" 'consistent: everything was read'
    if have decryptcore; then
        decryptcore -p private -k crash/key.0 -e "crash/$encrypted" -c decrypted > decryptcore.out 2>&1 ||
            fail "decryptcore does not decrypt it: $(show decryptcore.out)"
        cmp "crash/vmcore.0$1" decrypted > cmp.out 2>&1 || fail "decryptcore's is another one: $(show cmp.out)"
    fi
    keep "crash/vmcore.0$1" vmcore
    keep crash/info.0 info
}

# On the host, in the folder of the results: the dump tells the version and the processes.
check_panicked() {
    must inspect --verify vmcore
    holds 'what is said of the dump' "$out" 'consistent: everything was read'
    [ -e kernel ] || skip "the guest's kernel has no file, so that nothing can be read by symbol"
    check_version vmcore
    must ps --json --core vmcore --kernel kernel
    holds 'what is said of the kernel' "$out" 'kdb_sysctl_panic'
}
