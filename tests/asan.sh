#!/usr/bin/env bash
# The tests of requests against a build that finds wrong uses of memory: `make check-asan`.
#
# With a nightly toolchain (or one that RUSTC_BOOTSTRAP=1 lets use -Zsanitizer) module, engine and supervisor are built with
# AddressSanitizer. httpd and python are not: its runtime is loaded into them, made of the archive that comes with the
# toolchain. Without such a toolchain the debug build runs with glibc's checking malloc (MALLOC_CHECK_=3), which finds less.
# Reports go to target/asan/report.*; a run with a report, or with a failed test, fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=x86_64-unknown-linux-gnu
requests=(input response start_response headers_out http_requests http_semantics environ terminations errors messages
    truncation going_away validate full_duplex buffers callbacks import_script)
out=$PWD/target/asan
mkdir -p "$out"
rm -f "$out"/report.*
# Processes of other users write there too.
chmod 1777 "$out"

toolchain=
for one in "${NIGHTLY:-+nightly}" bootstrap; do
    if [ "$one" = bootstrap ]; then command=("${CARGO:-cargo}"); export RUSTC_BOOTSTRAP=1
    else command=("${CARGO:-cargo}" "$one"); fi
    sysroot=$("${command[@]}" rustc -q -Zunstable-options --print sysroot 2>/dev/null) || continue
    archive=$(find "$sysroot/lib/rustlib/$target/lib" -name 'librustc-*_rt.asan.a' | head -n 1)
    if [ -n "$archive" ]; then toolchain=$one; break; fi
done

if [ -n "$toolchain" ]; then
    echo "AddressSanitizer of ${command[*]}"
    # As a shared library the runtime begins when it is loaded, and not by the table of what comes before main. It is the
    # only one in a process: none is linked into what is built. (It ends a process in which it finds a file named as its own.)
    cp "$archive" "$out/runtime.a"
    ar d "$out/runtime.a" asan_preinit.cpp.o
    cc -shared -o "$out/wsgi-sanitizer.so" -Wl,-soname,wsgi-sanitizer.so -Wl,--whole-archive "$out/runtime.a" -Wl,--no-whole-archive \
        -lpthread -ldl -lrt -lm -lresolv -lstdc++
    RUSTFLAGS="-Zsanitizer=address -Zexternal-clangrt -Cforce-frame-pointers=yes -Clink-arg=$out/wsgi-sanitizer.so" \
        "${command[@]}" build --workspace --target "$target" --target-dir "$out"
    module=$out/$target/debug/libmod_wsgi.so
    export WSGI_TESTS_LD_PRELOAD=$out/wsgi-sanitizer.so
    # Python and httpd keep much until they end. A handler that the process had before must go on.
    export WSGI_TESTS_ASAN_OPTIONS=detect_leaks=0:allow_user_segv_handler=1:log_path=$out/report
else
    echo "No toolchain with AddressSanitizer: glibc's checking malloc"
    "${CARGO:-cargo}" build --workspace
    module=target/debug/libmod_wsgi.so
    export WSGI_TESTS_LD_PRELOAD=libc_malloc_debug.so.0 WSGI_TESTS_MALLOC_CHECK_=3 WSGI_TESTS_MALLOC_PERTURB_=165
fi

status=0
mapfile -t files < <(printf "tests/test_%s.py\n" "${requests[@]}")
read -ra pytest <<<"${PYTEST:-target/venv/bin/python -m pytest -c tests/pytest.ini}"
"${pytest[@]}" --module "$module" "$@" "${files[@]}" || status=$?
if compgen -G "$out/report.*" >/dev/null; then
    cat "$out"/report.* | head -n 200
    echo "AddressSanitizer has found something: $out/report.*" >&2
    exit 1
fi
exit "$status"
