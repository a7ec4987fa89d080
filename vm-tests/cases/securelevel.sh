# At securelevel 1 memory is read, and not written to. A securelevel lasts until the next boot: this case runs last.
. ../helpers.sh

variable debug.kdb.panic
sysctl debug.kdb.panic=1
