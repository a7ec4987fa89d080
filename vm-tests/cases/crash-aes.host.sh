# The decrypted dump tells of the panic on the host too.
. ../helpers.sh

check_panicked
