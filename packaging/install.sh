#!/usr/bin/env bash
# Installs the files of a release build, or removes them: `make install`, `make uninstall`.
#
#   install.sh install|uninstall [BUILD]      BUILD is the folder with the files, target/release by default
#
# DESTDIR=  before every path, for packagers; nothing is enabled then
# APXS=     says where httpd's modules and configuration are; MODULES_DIR= and CONF_DIR= replace its answers
# BIN_DIR=  for mod_wsgi-express, /usr/local/bin by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

action=${1:-}
build=${2:-target/release}
name=wsgi_rs

fail() { printf '%s\n' "$@" >&2; exit 1; }

apxs=${APXS:-$(command -v apxs2 || command -v apxs || echo /usr/bin/apxs)}
ask() { "$apxs" -q "$1" 2>/dev/null || fail "$apxs does not say where $2: give APXS=, or MODULES_DIR= and CONF_DIR="; }
modules=${MODULES_DIR:-$(ask LIBEXECDIR "httpd's modules are")}
conf=${CONF_DIR:-$(ask SYSCONFDIR "httpd's configuration is")}
# A directory of our own: no package of a distribution has files in it.
folder=$modules/mod_wsgi_rs
bin=${BIN_DIR:-/usr/local/bin}
dest=${DESTDIR:-}

# Debian's way with a2enmod, Fedora's folder of files that load modules, or none.
if command -v a2enmod >/dev/null && { [ -d "$conf/mods-available" ] || [ -n "$dest" ]; }; then
    style=debian load=$conf/mods-available/$name.load
elif [ -d "$conf.modules.d" ]; then
    style=directory load=$conf.modules.d/10-$name.conf
elif [ -d "$(dirname "$conf")/conf.modules.d" ]; then
    style=directory load=$(dirname "$conf")/conf.modules.d/10-$name.conf
else
    style=none load=
fi

# By rename: a running httpd keeps the file that it has mapped, and nobody ever sees half a file.
place() { # MODE SOURCE TARGET
    install -D -m "$1" "$2" "$dest$3.new"
    mv -f "$dest$3.new" "$dest$3"
}

load_text() {
    if [ "$style" = debian ]; then
        # a2enmod reads this line: the distribution's mod_wsgi has the same directives.
        echo "# Conflicts: wsgi"
    fi
    echo "LoadModule wsgi_module $folder/mod_wsgi.so"
}

enable() {
    if [ -L "$conf/mods-enabled/wsgi.load" ]; then
        printf '%s\n' "The module is installed, and not enabled: the distribution's mod_wsgi is. To change over:" \
            "    a2dismod wsgi && a2enmod $name && apachectl configtest && apachectl restart"
        return
    fi
    a2enmod -q "$name"
    echo "The module is installed and enabled. Now: apachectl configtest && apachectl restart"
}

install_all() {
    local file
    for file in libmod_wsgi.so wsgi-supervisor libwsgi_engine.so mod_wsgi-express; do
        [ -f "$build/$file" ] || fail "There is no $build/$file: run 'make build' first."
    done
    for file in "$build"/libwsgi_engine*.so; do
        place 644 "$file" "$folder/${file##*/}"
    done
    place 755 "$build/wsgi-supervisor" "$folder/wsgi-supervisor"
    place 755 "$build/mod_wsgi-express" "$folder/mod_wsgi-express"
    mkdir -p "$dest$bin"
    ln -sfn "$folder/mod_wsgi-express" "$dest$bin/mod_wsgi-express"
    # Last: whoever finds the module finds what belongs to it.
    place 644 "$build/libmod_wsgi.so" "$folder/mod_wsgi.so"
    if [ "$style" != none ]; then
        local text
        text=$(mktemp)
        load_text >"$text"
        place 644 "$text" "$load"
        rm -f "$text"
    fi
    if [ -n "$dest" ]; then
        echo "The files are below $dest."
    elif [ "$style" = debian ]; then
        enable
    elif [ "$style" = directory ]; then
        echo "The module is installed, and $load loads it. Now: apachectl configtest && apachectl restart"
    else
        echo "The module is installed. In httpd.conf:"
        load_text
    fi
}

uninstall_all() {
    if [ -z "$dest" ] && [ "$style" = debian ] && [ -f "$load" ]; then
        # With its notes of who enabled it.
        a2dismod -q -f -p "$name"
    fi
    rm -f "$dest$folder"/{mod_wsgi.so,wsgi-supervisor,mod_wsgi-express,libwsgi_engine*.so}
    # Another package may have a program of that name.
    if [ "$(readlink "$dest$bin/mod_wsgi-express")" = "$folder/mod_wsgi-express" ]; then
        rm -f "$dest$bin/mod_wsgi-express"
    fi
    [ -z "$load" ] || rm -f "$dest$load"
    [ ! -d "$dest$folder" ] || rmdir "$dest$folder" || fail "$dest$folder has other files in it, which stay."
    echo "The module is removed. A running httpd has it until its next restart."
}

case $action in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) fail "usage: $0 install|uninstall [BUILD]" ;;
esac
