# Live dumps of the kernel's and of memtool's making, plain, gzip and zstd, hold the same pages, and are consistent.
. ../helpers.sh

keep_kernel
page_size
keep page page

# By turns, as memory changes meanwhile. What the kernel compresses comes last: it keeps pages of its compressors out of
# its dumps, which memtool does not.
for dump in kernel.none user.none kernel.second user.gzip kernel.third user.zstd kernel.gzip kernel.zstd; do
    compression=${dump#*.}
    case $compression in second | third) compression=none ;; esac
    if [ ${dump%.*} = user ]; then
        must livedump --quiet --method user --$compression $dump
    else
        by_kernel $compression $dump --quiet || continue
    fi
    echo $dump >> made
    must inspect --verify $dump
    holds "what is said of $dump" "$out" 'consistent: everything was read'
    keep $dump $dump
    # It can be large, and the folder can be memory.
    : > $dump
done
keep made made
