# What memtool show lists of the running kernel is what FreeBSD's own commands list of it; each section can be shown.
. ../helpers.sh

tab=$(printf '\t')

# Fails unless a line of what memtool shows begins so: shown LINE
shown() {
    case $newline$out in
    *"$newline$1"*) ;;
    *) fail "$last lacks '$1': $out" ;;
    esac
    compared=$((compared + 1))
}
newline='
'

if have kldstat; then
    compared=0
    try_show kldstat
    kldstat > listed || fail 'kldstat fails'
    while read -r id references at size name; do
        case $id in
        [0-9]*) shown "$id$tab$references$tab$at$tab$size$tab$name$tab" ;;
        esac
    done < listed
    [ $compared -gt 0 ] || fail "kldstat lists nothing: $(show listed)"
    figure "$compared files are those of kldstat"
fi

if have kenv; then
    compared=0
    try_show kenv
    kenv > listed || fail 'kenv fails'
    while IFS== read -r name value; do
        value=${value#\"}
        value=${value%\"}
        case $value in
        *[\\$tab]*) continue ;;
        esac
        shown "$name$tab$value"
    done < listed
    figure "$compared variables are those of kenv"
fi

if have mount; then
    compared=0
    try_show mount
    mount -p > listed || fail 'mount -p fails'
    while read -r from on type rest; do
        case $from$on in
        # Blanks and the like.
        *\\*) continue ;;
        esac
        shown "$from$tab$on$tab$type$tab"
    done < listed
    [ $compared -gt 0 ] || fail "mount lists nothing: $(show listed)"
    figure "$compared file systems are those of mount -p"
fi

if have devinfo; then
    compared=0
    devinfo > listed || fail 'devinfo fails'
    try_show devinfo
    names=$(echo "$out" | while read -r name rest; do echo "$name"; done)
    while read -r name rest; do
        has_line "$names" "$name" || fail "$last lacks $name: $out"
        compared=$((compared + 1))
    done < listed
    figure "$compared devices are those of devinfo"
fi

if have vmstat; then
    compared=0
    vmstat -a -i > before || fail 'vmstat -a -i fails'
    try_show vmstat-i
    vmstat -a -i > after || fail 'vmstat -a -i fails'
    # Prints how often the interrupt of a name came, by a file of vmstat's.
    total_in() {
        while read -r total_line; do
            total_rest=${total_line#"$2 "}
            [ "$total_rest" != "$total_line" ] || continue
            read -r total_count total_rate total_more << TOTAL
$total_rest
TOTAL
            [ -n "$total_more" ] || echo "$total_count"
        done < "$1"
    }
    while IFS=$tab read -r name count rate; do
        low=$(total_in before "$name") high=$(total_in after "$name")
        case "$low,$high" in
        *[!0-9,]* | ,* | *,) continue ;;
        esac
        [ "$count" -ge "$low" ] && [ "$count" -le "$high" ] ||
            fail "$name came $count times, which is not between $low and $high"
        compared=$((compared + 1))
    done << END
$out
END
    [ $compared -gt 2 ] || fail "only $compared interrupts could be compared: $out $(show before)"
    figure "$compared interrupts came as often as vmstat -i says"
fi

if have fstat; then
    compared=0
    fstat -p $$ > listed || fail 'fstat fails'
    try_show fstat
    while read -r user command pid file mount number mode rest; do
        [ "$pid" = $$ ] || continue
        case $mount in
        /*) ;;
        *) continue ;;
        esac
        # The user is a name there.
        case $newline$out in
        *"$tab$command$tab$pid$tab${file%"*"}$tab$mount$tab$number$tab$mode$tab"*) compared=$((compared + 1)) ;;
        *) fail "$last lacks '$command $pid $file $mount $number $mode': $out" ;;
        esac
    done < listed
    [ $compared -gt 2 ] || fail "only $compared files could be compared: $(show listed)"
    figure "$compared files of a shell are those of fstat"
fi

if have procstat; then
    compared=0
    # Those are there before and after.
    procstat -s $$ 1 > listed || fail 'procstat -s fails'
    try_show procstat-s
    while read -r pid command users; do
        case $pid in
        [0-9]*) shown "$pid$tab$command$tab$(echo "$users" | tr -s ' ' "$tab")" ;;
        esac
    done < listed
    [ $compared -eq 2 ] || fail "procstat lists other processes: $(show listed)"
    figure "$compared credentials are those of procstat -s"
fi

if have sysctl; then
    compared=0
    try show --quiet sysctl-changed
    case $status,$err in
    1,*'its own file'*) figure "sysctl-changed: $err" ;;
    0,*)
        while IFS=$tab read -r name value initial rest; do
            # It changes by itself.
            [ "$(sysctl -n "$name")" != "$value" ] || compared=$((compared + 1))
            [ "$value" != "$initial" ] || [ "${rest%%"$tab"*}" != - ] || fail "$name is as it was: $value"
        done << END
$out
END
        [ $compared -gt 20 ] || fail "only $compared variables are those of sysctl: $out"
        figure "$compared variables are those of sysctl"
        ;;
    *) fail "$last: exit status $status: $err" ;;
    esac
fi

if have netstat; then
    compared=0
    if have nc; then
        nc -l 127.0.0.1 9000 > /dev/null &
        listener=$!
        trap 'kill $listener' EXIT
        sleep 1
    fi
    netstat -anA -p tcp > listed || fail 'netstat fails'
    try_show netstat-an
    while read -r at protocol received sent here there state; do
        case $state in
        LISTEN | ESTABLISHED) shown "$at$tab$protocol$tab$received$tab$sent$tab$here$tab$there$tab$state" ;;
        esac
    done < listed
    ! have nc || [ $compared -gt 0 ] || fail "netstat does not list what listens: $(show listed)"
    figure "$compared connections are those of netstat -anA"
fi

# A kernel without such a thing says so; nothing else may fail.
for section in waits deadlocks run-queues callouts jls ipcs sysctl netstat-aL netstat-m netstat-i netstat-r netstat-s \
    geom cam buffers iostat page-use page-queues free-pages; do
    try show --quiet $section --json
    case $status,$err in
    0,*) ;;
    # It changes while it is read.
    1,*'is damaged'* | 1,*'cannot be read'* | 1,*'leads back'*) figure "$section: ${err%%"$newline"*}" ;;
    1,*'no symbol'*) figure "$section: there is none" ;;
    *) fail "$last: exit status $status: $err" ;;
    esac
done
