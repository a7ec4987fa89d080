# The decrypted dump is decompressed and tells of the panic on the host too.
. ../helpers.sh

cd "$RESULTS" || exit
check_panicked
