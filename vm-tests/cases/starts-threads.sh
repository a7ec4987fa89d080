# Threads, zstd and gzip work on this kernel: what is compressed, on all processors, is what it was before.
. ../helpers.sh

# Of the built-in machine.
must --machine demo dump --quiet --range 0x100000+4m --format lime -o plain --manifest manifest.json
for tool in zstd gzip; do
    must --machine demo dump --quiet --range 0x100000+4m --format lime --$tool -o $tool
    must --quiet convert --to lime $tool $tool.unpacked
    must dump --verify $tool.unpacked --manifest manifest.json
done
