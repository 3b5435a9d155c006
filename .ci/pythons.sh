#!/usr/bin/env bash
# Installs the Pythons that the tests need beside the system's (CI_VERSIONS in tests/pythons.py): by uv, from PyPI, which
# fetches builds of CPython. Nothing is done for those that are there, under ~/.pyenv for example.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=target/venv/bin/python
missing() { "$python" tests/pythons.py; }

read -ra wanted <<<"$(missing)"
if [ ${#wanted[@]} -gt 0 ]; then
    echo "Installing Python ${wanted[*]}"
    "$python" -m pip install -q uv
    target/venv/bin/uv python install --no-bin "${wanted[@]}"
fi
left=$(missing)
if [ -n "$left" ]; then
    echo "Python $left cannot be found, and the tests of CI need it: install it with uv or pyenv." >&2
    exit 1
fi
