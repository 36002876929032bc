# What the scripts share: noting what a bare machine lacks, and installing it. Sourced, never run.

say() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_ports N: that many, a line each, below those that the kernel hands out by itself.
free_ports() {
    local port wanted=$1
    for port in $(shuf -i 15000-19999 -n 100); do
        ((wanted)) || return 0
        listens "$port" || { echo "$port"; wanted=$((wanted - 1)); }
    done
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        command -v sudo >/dev/null || fail "this needs root or sudo: $*"
        sudo "$@"
    fi
}

missing=()

# need PACKAGE REASON CHECK...: notes the Debian package unless the command CHECK succeeds. `a|b`: the first that apt knows.
need() {
    local package=$1 reason=$2
    shift 2
    "$@" >/dev/null 2>&1 && return
    say "missing: ${package/|/ or } ($reason)"
    missing+=("$package")
}

install_missing() {
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || fail "this machine has no apt-get; install what these Debian packages hold, then start again: ${missing[*]}"
    local apt=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600)
    say "installing what is missing with apt-get"
    # One broken third-party source must not stop an installation that does not need it.
    "${apt[@]}" update >&2 || say "apt-get update failed; going on with the package lists that are here"
    local wanted=() entry name
    for entry in "${missing[@]}"; do
        for name in ${entry//|/ }; do
            [[ -n $(apt-cache madison "$name" 2>/dev/null) ]] && break
        done
        wanted+=("$name")
    done
    "${apt[@]}" install -y --no-install-recommends "${wanted[@]}" >&2 || fail "apt-get could not install: ${wanted[*]}"
    missing=()
}

# What `cargo build` needs beside Rust itself. aws-lc and librdkafka are compiled here; neither asks for cmake, clang or curl.
need_build_tools() {
    [[ -r ${CARGO_HOME:-$HOME/.cargo}/env ]] && . "${CARGO_HOME:-$HOME/.cargo}/env"
    command -v cargo >/dev/null || fail "Rust is missing; install it from https://rustup.rs, then start again: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    need g++ "compiles librdkafka and AWS-LC" command -v g++
    need make "builds librdkafka" command -v make
    need pkg-config "finds OpenSSL" command -v pkg-config
    need libssl-dev "OpenSSL's headers, for Kafka over TLS" pkg-config --exists openssl
}
