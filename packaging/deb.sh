#!/usr/bin/env bash
# Makes the Debian package of a release build, by debhelper: `make deb`. Prints the package's path.
#
#   deb.sh [BUILD [OUT]]      BUILD is the folder with the files, target/release by default; the package goes to OUT, BUILD/../deb by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=$(realpath "${1:-target/release}")

needed=(debhelper apache2-dev dpkg-dev)
missing=()
for package in "${needed[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "Some packages are missing: sudo apt-get install -y ${missing[*]}" >&2
        exit 1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi
for file in libmod_wsgi.so wsgi-supervisor libwsgi_engine.so; do
    [ -f "$build/$file" ] || { echo "There is no $build/$file: run 'make build' first." >&2; exit 1; }
done

out=$(realpath -m "${2:-$(dirname "$build")/deb}")
rm -rf "$out"
mkdir -p "$out/tree"
cp -r packaging/debian "$out/tree/debian"
(cd "$out/tree" && PREBUILT=1 BUILD=$build dpkg-buildpackage --build=binary --unsigned-changes --build-profiles=prebuilt -d) >"$out/log" 2>&1 ||
    { tail -n 20 "$out/log" >&2; echo "dpkg-buildpackage failed; all it said is in $out/log" >&2; exit 1; }
rm -rf "$out/tree"
ls "$out"/libapache2-mod-wsgi-rs_*.deb
