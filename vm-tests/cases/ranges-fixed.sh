# A fixed range cannot be removed: EPERM, from the kernel as well.
. ../helpers.sh

need_ranges
must ranges list --no-join
before=$out
case $before in
*fixed-base*) ;;
*)
    if have memcontrol; then
        case $(memcontrol list) in
        *fixed-base*) fail "memcontrol lists fixed ranges, memtool does not: $before" ;;
        esac
    fi
    skip 'the processor has no fixed ranges'
    ;;
esac

# The first one of each processor that has any.
refused EPERM ranges remove --base 0 --length 64k
holds 'the message' "$err" 'which cannot be removed'
memcontrol_refused 'Operation not permitted' clear -b 0 -l 65536

must ranges list --no-join
equal 'the table after the refusal' "$out" "$before"
