# The guest's live dumps are consistent on the host too, and those of the kernel and of memtool have the same pages.
. ../helpers.sh

need awk
cd "$RESULTS" || exit
page_size

# Prints the numbers of the pages in a dump.
pages_of() {
    "$MEMTOOL" --quiet convert --format raw --map "$1.map" "$1" - > /dev/null 2> convert.err ||
        fail "$1 cannot be converted: $(show convert.err)"
    while read -r start end; do
        echo $((start / page)) $((end / page))
    done < "$1.map" | awk '{ for (page = $1; page < $2; page++) print page }'
}

# Whether a dump was made.
have_dump() {
    has_line "$made" "$1"
}

made=$(show made)
for dump in user.none user.gzip user.zstd; do
    have_dump $dump || fail "there is no $dump"
done
for dump in $made; do
    must inspect --verify $dump
    holds "what is said of $dump" "$out" 'consistent: everything was read'
    check_version $dump
    pages_of $dump > $dump.pages
done

# Memory changes while dumps are made, so each is compared with the one before and the one behind, of the other method:
# what both have, it has to have, and what it has, one of them; but for a few pages that come and go.
compare() {
    for compared; do
        have_dump "$compared" || return 0
    done
    awk -v before="$1" -v dump="$2" -v behind="$3" '
        FILENAME == before ".pages" { in_before[$1] = 1; next }
        FILENAME == behind ".pages" { in_behind[$1] = 1; if ($1 in in_before) stays[$1] = 1; next }
        { pages++; if (!($1 in in_before) && !($1 in in_behind)) more++; delete stays[$1] }
        END {
            for (page in stays) missing++
            if (pages < 1000) { print "there are " pages " pages only"; exit 1 }
            if (missing + more > pages / 100) {
                print "of " pages + 0 " pages, " missing + 0 " are missing and " more + 0 " too many"
                exit 1
            }
        }' "$1.pages" "$3.pages" "$2.pages" > different || fail "$2, compared with $1 and $3: $(show different)"
}
compare kernel.none user.none kernel.second
compare kernel.second user.gzip kernel.third
compare kernel.third user.zstd kernel.gzip
compare user.gzip kernel.third user.zstd
compare user.zstd kernel.gzip kernel.zstd
compare user.zstd kernel.zstd kernel.gzip
# Where the kernel makes none that is right.
have_dump kernel.none || compare user.none user.gzip user.zstd

# What other programs find in the streams.
for method in kernel user; do
    for tool in gzip zstd; do
        have $tool && have_dump $method.$tool || continue
        $tool -d -c < $method.$tool > unpacked 2> tool.err || fail "$tool refuses $method.$tool: $(show tool.err)"
        equal "the beginning of $method.$tool" "$(dd if=unpacked bs=17 count=1 2> /dev/null)" 'minidump FreeBSD/'
    done
done
