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
    # shellcheck disable=SC2086 # a list of words
    install_packages $packages
}

# Installs Debian packages.
install_packages() {
    # Some other source of packages may be out of order; the install will tell.
    apt-get -qq update >/dev/null || true
    DEBIAN_FRONTEND=noninteractive run apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "$@" >/dev/null
}

# The Rust that Cargo.toml asks for at least, as in 1.88. The project is in $root, or here.
required_rust() {
    sed -n 's/^rust-version = "\(.*\)"$/\1/p' "${root:-.}/Cargo.toml"
}

# Whether a version is at least another one.
is_at_least() {
    [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# The version that a program of Rust prints, if there is one.
version_of() {
    "$1" --version 2>/dev/null | cut -d ' ' -f 2
}

# Whether these programs of Rust are there and new enough.
is_recent_rust() {
    for program in "$@"; do
        version=$(version_of "$program")
        [ -n "$version" ] && is_at_least "$version" "$(required_rust)" || return 1
    done
}

# What Debian's packages of a Rust that is new enough end with: nothing, or -web, which are those for browsers. Fails if
# there are none.
rust_packages() {
    [ "$(id -u)" -ne 0 ] || apt-get -qq update >/dev/null || true
    for suffix in '' -web; do
        version=$(apt-cache policy "rustc$suffix" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
        if [ -n "$version" ] && is_at_least "$version" "$(required_rust)"; then
            echo "$suffix"
            return 0
        fi
    done
    return 1
}

# A Rust toolchain that is new enough, and a C compiler.
need_rust() {
    need cc "gcc libc6-dev"
    is_recent_rust cargo rustc && return 0
    if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ] && suffix=$(rust_packages); then
        install_packages "rustc$suffix" "cargo$suffix"
        is_recent_rust cargo rustc && return 0
    fi
    echo "Rust $(required_rust) is needed; rustc is $(version_of rustc || true), cargo $(version_of cargo || true)" >&2
    exit 1
}
