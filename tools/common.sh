# Sourced by the scripts beside it: what they need of the machine they run on.
# shellcheck shell=sh

# Prints a command and runs it.
run() {
    printf '+ %s\n' "$*"
    "$@"
}

# Installs Debian packages that are missing; on other systems, or without the
# rights to, says which commands the user has to provide.
#   need COMMAND PACKAGE [COMMAND PACKAGE ...]
need() {
    missing=
    packages=
    while [ $# -gt 1 ]; do
        if ! command -v "$1" >/dev/null; then
            missing="$missing $1"
            packages="$packages $2"
        fi
        shift 2
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
        echo "missing:$missing; install it (on Debian: apt-get install$packages) and try again" >&2
        exit 1
    fi
    # Some other source of packages may be out of order; the install will tell.
    apt-get -qq update >/dev/null || true
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive run apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends $packages >/dev/null
}

# A Rust toolchain and a C compiler. Debian's own rustc is too old; its package
# for browsers is not.
need_rust() {
    need cargo cargo-web rustc rustc-web cc "gcc libc6-dev"
}
