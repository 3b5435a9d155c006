#!/usr/bin/env bash
# Starts Apache in the foreground on 127.0.0.1 with the module that was built, and serves an
# application twice: in daemon mode at /, in embedded mode at /embedded. What goes wrong is shown here. Ctrl-C stops all
# of it. Several ports may be served at a time: each has a directory of its own, target/run/PORT.
#
# With the argument --check it looks only at what can be wrong before anything is built.
#
#   PORT          where to listen (8000)
#   APP           the application's script (the demonstration beside this file)
#   PYTHON_HOME   a virtual environment for it
#   MODULE        the module (target/release/libmod_wsgi.so)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
port=${PORT:-8000}
module=${MODULE:-$top/target/release/libmod_wsgi.so}
root=$top/target/run/$port
stage=$root
server=
reader=

fail() { printf '%s\n' "$@" >&2; exit 1; }

# Where the modules of httpd itself are.
modules_folder() {
    local folder
    for folder in /usr/lib/apache2/modules /usr/lib64/httpd/modules /usr/lib/httpd/modules; do
        if [ -d "$folder" ]; then echo "$folder"; return; fi
    done
    apxs -q LIBEXECDIR
}

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Nothing has been written yet when this says no.
check() {
    local other=8000
    case $port in
        *[!0-9]* | "" | 0* | ??????*) fail "PORT must be a number from 1 to 65535, not '$port'." ;;
    esac
    [ "$port" -le 65535 ] || fail "PORT must be a number from 1 to 65535, not '$port'."
    if is_taken "$port"; then
        while [ "$other" -lt 65535 ] && is_taken "$other"; do other=$((other + 1)); done
        fail "Port $port is taken. Choose another one: make run PORT=$other"
    fi
    [ -z "${APP:-}" ] || [ -f "$APP" ] || fail "APP=$APP: there is no such file."
    [ -z "${PYTHON_HOME:-}" ] || [ -x "$PYTHON_HOME/bin/python" ] ||
        fail "PYTHON_HOME=$PYTHON_HOME is no virtual environment: it has no bin/python."
}

# An httpd that has been started here and does not listen (yet, or any more) would be taken for this one.
check_pid_file() {
    local pid
    pid=$(cat "$root/httpd.pid" 2>/dev/null) || return 0
    case $(cat "/proc/$pid/comm" 2>/dev/null) in
        apache2 | httpd) fail "The server of an earlier 'make run PORT=$port' still runs: end its process $pid first." ;;
    esac
    rm -f "$root/httpd.pid"
}

# Root's httpd answers as another user, who may be unable to enter this checkout: what that user
# reads is copied to where it can.
reachable_stage() {
    [ "$(id -u)" = 0 ] || return 0
    stage=$(mktemp -d /var/tmp/mod_wsgi-run.XXXXXX)
    chmod 755 "$stage"
}

application() {
    if [ -z "${APP:-}" ]; then
        app=$stage/app.wsgi
        [ "$here/app.wsgi" -ef "$app" ] || install -m 644 "$here/app.wsgi" "$app"
        return
    fi
    app=$(realpath "$APP")
    [ "$(id -u)" != 0 ] || runuser -u www-data -- test -r "$app" ||
        fail "APP=$APP: the user www-data cannot read it. Run this as an ordinary user, or move it."
}

load() {
    local folder name
    folder=$(modules_folder)
    for name in mpm_event authz_core alias dir; do
        echo "LoadModule ${name}_module $folder/mod_$name.so"
    done
    for name in unixd log_config; do
        [ ! -e "$folder/mod_$name.so" ] || echo "LoadModule ${name}_module $folder/mod_$name.so"
    done
}

configuration() {
    cat <<CONF
ServerRoot "$root"
ServerName 127.0.0.1
Listen 127.0.0.1:$port
PidFile "$root/httpd.pid"
DefaultRuntimeDir "$stage/run"
ErrorLog "$root/logs/error.log"
LogLevel warn wsgi:info
$(load)
LoadModule wsgi_module "$module"
CustomLog "$root/logs/access.log" "%h %t \"%r\" %>s %b %D"
DocumentRoot "$stage/htdocs"
<Directory />
    Require all granted
</Directory>
$([ "$(id -u)" != 0 ] || printf 'User www-data\nGroup www-data')
StartServers 1
WSGISocketPrefix "$stage/run/wsgi"
${home:+WSGIPythonHome "$home"}
WSGIDaemonProcess demo processes=2 threads=5 ${home:+python-home="$home"}
WSGIScriptAlias /embedded "$app" process-group=%{GLOBAL} application-group=%{GLOBAL}
WSGIScriptAlias / "$app" process-group=demo
CONF
}

stop() {
    trap '' INT TERM
    if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then
        wait "$server" || true
    fi
    [ -z "$reader" ] || kill "$reader" 2>/dev/null || true
    [ "$stage" = "$root" ] || rm -rf "$stage"
}

prepare() {
    check
    httpd=$(PATH=$PATH:/usr/sbin:/sbin command -v apache2 || PATH=$PATH:/usr/sbin:/sbin command -v httpd) ||
        fail "There is no apache2 or httpd on this machine: run 'make deps'."
    [ -f "$module" ] || fail "There is no module at $module: run 'make build'."
    module=$(realpath "$module")
    check_pid_file
    home=${PYTHON_HOME:+$(realpath "$PYTHON_HOME")}
    reachable_stage
    trap stop EXIT
    mkdir -p "$root/logs" "$stage/run" "$stage/htdocs"
    application
    configuration >"$root/httpd.conf"
    "$httpd" -f "$root/httpd.conf" -t >"$root/logs/configtest" 2>&1 ||
        fail "Apache refuses the configuration $root/httpd.conf:" "$(cat "$root/logs/configtest")"
    # What the module's doctor has found.
    grep -vx 'Syntax OK' "$root/logs/configtest" || true
}

# Shows what goes wrong: warnings, errors and what scripts raise, but not the life of processes.
show_errors() {
    : >>"$root/logs/error.log"
    tail -n 0 -F "$root/logs/error.log" 2>/dev/null > >(
        exec grep --line-buffered -vE '^\[[^]]*\] \[[a-z0-9_]*:(notice|info|debug|trace[1-8])\]') &
    reader=$!
}

# Until the server answers, or has ended.
await_server() {
    local tries=0
    while ! is_taken "$port" && kill -0 "$server" 2>/dev/null && [ $tries -lt 1200 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
}

if [ "${1:-}" = --check ]; then check; exit; fi
prepare
show_errors

# In a session of its own, so that Ctrl-C reaches this script only, which then stops it in order.
setsid "$httpd" -f "$root/httpd.conf" -DFOREGROUND </dev/null &
server=$!
trap 'exit 0' INT TERM
await_server
if is_taken "$port"; then
    echo "Open http://127.0.0.1:$port/ (daemon mode) or http://127.0.0.1:$port/embedded"
    echo "Logs: $root/logs/error.log and $root/logs/access.log"
    echo "Ctrl-C stops the server."
fi
status=0
wait "$server" || status=$?
server=
[ "$status" = 0 ] || fail "Apache ended with status $status. The end of its log:" \
    "$(tail -n 20 "$root/logs/error.log")"
