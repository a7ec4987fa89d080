# The compressed and encrypted dump of the panic is found, saved and decrypted.
. ../helpers.sh

check_encrypted .zst
