# Threads, zstd and gzip work on this kernel: what is compressed, on all processors, is what it was before.
. ../helpers.sh

# Of the built-in machine.
must --machine demo dump --quiet --range 0x100000+4m --format lime -o plain --manifest manifest.json
for tool in zstd gzip; do
    must --machine demo dump --quiet --range 0x100000+4m --format lime --$tool -o $tool
    # By RFC 8878 and RFC 1952.
    case $tool in
    zstd) length=4 magic='\050\265\057\375' ;;
    gzip) length=3 magic='\037\213\010' ;;
    esac
    equal "what the file of --$tool begins with" "$(dd if=$tool bs=$length count=1 2> /dev/null)" "$(printf "$magic")"
    must --quiet convert --format lime $tool $tool.unpacked
    must dump --verify $tool.unpacked --manifest manifest.json
done
