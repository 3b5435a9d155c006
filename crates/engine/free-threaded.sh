#!/usr/bin/env bash
# Builds the engine for a free-threaded Python, and puts it beside the engine for all others. `make engine` calls this.
#
#   free-threaded.sh PYTHON [release|debug]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=$1 profile=${2:-release}

version=$("$python" -c 'import sys, sysconfig
print("%d.%d" % sys.version_info[:2] if sysconfig.get_config_var("Py_GIL_DISABLED") else "")')
if [ -z "$version" ]; then
    echo "$python is not free-threaded; name one that is: make engine PYTHON=/path/to/python3.14t" >&2
    exit 1
fi

# PyO3 takes what it has to know from this file, in place of the stable ABI that the workspace is built for.
target=target/free-threaded
mkdir -p "$target"
config=$PWD/$target/python-$version.txt
cat >"$config.new" <<EOF
implementation=CPython
version=$version
target_abi=CPython-free_threaded-$version
build_flags=Py_GIL_DISABLED
pointer_width=$(getconf LONG_BIT)
EOF
cmp -s "$config.new" "$config" && rm "$config.new" || mv "$config.new" "$config"

options=()
[ "$profile" = debug ] || options=(--release)
PYO3_CONFIG_FILE=$config "${CARGO:-cargo}" build "${options[@]}" --package wsgi-engine --target-dir "$target"
engine=target/$profile/libwsgi_engine-cp${version/./}t.so
mkdir -p "target/$profile"
# Replaced, not written to: a server may have the old one open.
cp "$target/$profile/libwsgi_engine.so" "$engine.new"
mv "$engine.new" "$engine"
echo "$engine: for free-threaded Python $version"
