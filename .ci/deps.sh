#!/usr/bin/env bash
# Installs what building, running and testing need, and nothing that is there already: with apt-get
# when root; otherwise it prints the one line to run and stops.
set -euo pipefail

packages=(apache2-bin apache2-dev apache2-utils libclang-dev gcc g++ libc6-dev pkg-config
    make procps python3 python3-venv curl ca-certificates)
oldest=1.85

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Embedded mode loads the shared library of the system's Python, a package named by version.
libpython() {
    local version
    version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        version=$(apt-cache depends python3 2>/dev/null | sed -n 's/.*Depends: python\(3\.[0-9]*\)$/\1/p' | head -n 1)
    echo "libpython${version:-3-dev}"
}

missing() {
    local package
    for package in "${packages[@]}" "$(libpython)"; do
        installed "$package" || echo "$package"
    done
}

install_missing() {
    local wanted
    mapfile -t wanted < <(missing)
    [ ${#wanted[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "Some packages are missing. Install them, then run this again:" >&2
        echo "    sudo apt-get install -y ${wanted[*]}" >&2
        exit 1
    fi
    echo "Installing ${wanted[*]}"
    apt-get update -qq
    mapfile -t wanted < <(missing)
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
}

check_by_command() {
    local command
    for command in apxs python3 cc curl make ps; do
        command -v "$command" >/dev/null ||
            { echo "'$command' is missing: install httpd with its development files, Python 3, a C compiler, libclang, curl, make and ps." >&2; exit 1; }
    done
}

check_cargo() {
    local cargo=${CARGO:-cargo} version
    version=$("$cargo" --version 2>/dev/null | cut -d' ' -f2) || version=
    if [ -z "$version" ]; then
        echo "Rust $oldest or later is needed, and there is no cargo on the PATH." >&2
    elif [ "$(printf '%s\n%s\n' "$oldest" "$version" | sort -V | head -n 1)" != "$oldest" ]; then
        echo "Rust $oldest or later is needed; this cargo is $version." >&2
    else
        return 0
    fi
    echo "Install it with rustup (https://rustup.rs), or on Debian 13 with: apt-get install cargo" >&2
    echo "(on Debian 12: apt-get install cargo-web rustc-web)" >&2
    exit 1
}

# First what nobody but the user can install as they like.
check_cargo
if command -v apt-get >/dev/null; then install_missing; else check_by_command; fi
