# The decrypted dump tells of the panic on the host too.
. ../helpers.sh

cd "$RESULTS" || exit
check_panicked
