# A crash dump that the kernel encrypts with AES is saved as savecore(8) does, and decrypted as decryptcore(8) does.
. ../helpers.sh

dump_encrypted -C aes-cbc
