# A crash dump that the kernel compresses and encrypts with ChaCha20 is saved and decrypted as FreeBSD's commands do.
. ../helpers.sh

dump_encrypted -C chacha20 -Z
