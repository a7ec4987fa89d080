# Stores what comes on standard input in a new file, which gets its name when everything is on disk.
#
# memtool has this run on the other host by ssh(1), as one line within single quotes, which every login shell hands
# to sh as it is. Therefore every statement ends in a semicolon, comments are lines of their own, and there is no
# quote, no exclamation mark and no doubled backslash; and only what POSIX has is used.
#
#   receive.sh TOKEN NAME PATH    TOKEN ends the stream, after the size in 20 digits; NAME is part of the temporary
#                                 file's name; PATH is in octal, as of printf(1), and absolute or begins with ~/
#   receive.sh DIRECTORY          the same arguments, from what ssh(1) asked for; PATH must be in DIRECTORY
umask 077;
LC_ALL=C;
export LC_ALL;
partial=;
fail() {
    trap "" HUP INT TERM PIPE;
    if [ -n "$partial" ]; then rm -f "$partial"; fi;
    printf "%s\n" "$1" >&2;
    exit 1;
};
folder=;
if [ $# -eq 1 ]; then
    folder=$1;
    set -f;
    set -- ${SSH_ORIGINAL_COMMAND##* memtool };
    set +f;
    if [ $# -eq 3 ]; then set -- "$1" "$2" "${3#?}"; fi;
    set -- "$1" "$2" "${3%?}";
    if [ -z "$3" ] || [ -n "$(printf %s "$1$2" | tr -d 0-9a-f)$(printf %s "$3" | tr -d "0-7\134")" ]; then
        fail "this key can only store dumps of memtool in $folder";
    fi;
fi;
path=$(printf "$3");
case $path in "~/"*) path=$HOME/${path#??};; esac;
if [ -n "$folder" ]; then
    case ${path%/*} in "$folder");; *) fail "this key can only store dumps in $folder";; esac;
fi;
if [ -e "$path" ] || [ -L "$path" ]; then fail "$path exists, and nothing is replaced"; fi;

# What a redirection prints that fails, shells print in words of their own; the file is new.
trap "" HUP INT TERM PIPE;
new=$path.$2.partial;
if why=$( (set -C; : >"$new") 2>&1); then partial=$new; else fail "$why"; fi;
trap "fail interrupted" HUP INT TERM PIPE;
printf "memtool: ready\n";
if why=$(cat 2>&1 >>"$partial"); then :; else fail "$why"; fi;

# An end without the token is that of a connection, not of the dump. Other bytes may come where it belongs.
size=$(($(wc -c <"$partial") - 84));
end=$(tail -c 84 "$partial" | tr -dc 0-9a-f);
if [ "$size" -lt 0 ] || [ "$end" = "$(printf %020d "$size")$1" ]; then :; else size=-1; fi;
if [ "$size" -lt 0 ]; then fail "the dump has not arrived as a whole"; fi;
if why=$(dd if=/dev/null of="$partial" bs=1 seek="$size" 2>&1); then :; else fail "$why"; fi;
if [ "$(($(wc -c <"$partial")))" -eq "$size" ]; then :; else fail "dd(1) cannot shorten a file"; fi;

# FreeBSD has fsync(1); its sync(8) takes no file.
flush() { if command -v fsync >/dev/null 2>&1; then fsync "$1"; else sync "$1"; fi; };
if why=$(flush "$partial" 2>&1); then :; else fail "$why"; fi;

# ln(1) does not replace a file, but would go into a directory.
if [ -e "$path" ] || [ -L "$path" ]; then fail "$path exists, and nothing is replaced"; fi;
if why=$(ln "$partial" "$path" 2>&1); then :; else fail "$why"; fi;
if [ -d "$path" ]; then rm -f "$path/${partial##*/}"; fail "$path exists, and nothing is replaced"; fi;
rm -f "$partial";
partial=;
flush "${path%/*}/" 2>/dev/null || sync;
printf "memtool: done %s\n" "$size";
