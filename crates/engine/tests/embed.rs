//! Embedded mode without httpd: opens libpython and the engine as a child does, and is the host.
//!
//! Needs a python3 with a shared libpython (WSGI_TEST_PYTHON; default python3), else it says so and passes.
//! With WSGI_BENCH set, prints how long a request takes.

use std::ffi::{CStr, CString, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use wsgi_wire::config::EmbedConfig;
use wsgi_wire::host::{EMBED_SYMBOL, Embed, FINISH_SYMBOL, Finish, Host, READ_GONE, RUN_SYMBOL, Run};
use wsgi_wire::python_options::PythonOptions;
use wsgi_wire::request::{Encoder, Head, RELOAD};
use wsgi_wire::response;

const APP: &str = r#"
import sys
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/raise':
        raise ValueError('raised')
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    if path == '/echo':
        return [environ['wsgi.input'].read()]
    if path == '/stream':
        return iter([b'one', b'two'])
    if path == '/facts':
        print('printed')
        return [repr((environ['mod_wsgi.application_group'], sys.prefix, sys.flags.optimize)).encode()]
    return [b'Hello']
"#;

#[derive(Default)]
struct Seen {
    status: u16,
    body: Vec<u8>,
    flushed: usize,
    logs: Vec<String>,
    input: Option<Vec<u8>>,
}

static SERVER_LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn seen<'a>(request: *mut c_void) -> &'a mut Seen {
    // SAFETY: the request that `run` was given, which is a `Seen`.
    unsafe { &mut *request.cast() }
}

fn bytes<'a>(memory: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: the engine passes slices.
    unsafe { std::slice::from_raw_parts(memory, len) }
}

unsafe extern "C" fn read_body(request: *mut c_void, buf: *mut u8, len: usize) -> isize {
    let Some(input) = &mut seen(request).input else { return READ_GONE };
    let count = len.min(input.len()).min(2);
    // SAFETY: room for `len` bytes.
    unsafe { std::ptr::copy_nonoverlapping(input.as_ptr(), buf, count) };
    input.drain(..count);
    isize::try_from(count).expect("short")
}

unsafe extern "C" fn head(request: *mut c_void, payload: *const u8, len: usize) -> i32 {
    let head = response::Head::decode(bytes(payload, len)).expect("valid head");
    seen(request).status = head.status;
    0
}

unsafe extern "C" fn data(request: *mut c_void, memory: *const u8, len: usize, flush: i32) -> i32 {
    seen(request).body.extend_from_slice(bytes(memory, len));
    seen(request).flushed += usize::from(flush != 0);
    0
}

unsafe extern "C" fn file(request: *mut c_void, fd: i32, offset: u64, length: u64) -> i32 {
    // SAFETY: the engine keeps the descriptor open during the call.
    let file = std::mem::ManuallyDrop::new(unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(fd) });
    let mut part = vec![0; usize::try_from(length).expect("short")];
    std::os::unix::fs::FileExt::read_exact_at(&*file, &mut part, offset).expect("as long as said");
    seen(request).body.extend_from_slice(&part);
    0
}

unsafe extern "C" fn answer(_request: *mut c_void, _payload: *const u8, _len: usize) -> i32 {
    -1
}

unsafe extern "C" fn record(request: *mut c_void) -> *mut c_void {
    request
}

unsafe extern "C" fn log(request: *mut c_void, _level: u8, text: *const u8, len: usize) {
    let text = String::from_utf8_lossy(bytes(text, len)).into_owned();
    if request.is_null() {
        SERVER_LOG.lock().expect("not poisoned").push(text);
    } else {
        seen(request).logs.extend(text.split('\n').map(str::to_owned));
    }
}

fn open(path: &Path, flags: i32) -> *mut c_void {
    let name = CString::new(path.to_str().expect("a plain path")).expect("no null");
    // SAFETY: a C string.
    let library = unsafe { libc::dlopen(name.as_ptr(), flags) };
    assert!(!library.is_null(), "cannot open {path:?}");
    library
}

fn find<T>(library: *mut c_void, name: &CStr) -> T {
    // SAFETY: a library that is open, and a C string.
    let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!symbol.is_null(), "{name:?}");
    // SAFETY: `T` is the type that `wsgi_wire::host` has for this symbol.
    unsafe { std::mem::transmute_copy(&symbol) }
}

/// The engine, built now: for its tests cargo does not build a library that is no Rust library.
fn engine() -> PathBuf {
    let here = std::env::current_exe().expect("this program");
    let folder = here.parent().and_then(Path::parent).expect("the folder of the profile");
    let profile = if folder.ends_with("release") { "release" } else { "dev" };
    let build = ["build", "--quiet", "--package", "wsgi-engine", "--profile", profile];
    assert!(Command::new(env!("CARGO")).args(build).status().expect("cargo runs").success());
    folder.join("libwsgi_engine.so")
}

/// The interpreter and its libpython.
fn python() -> Option<(String, PathBuf)> {
    let python = std::env::var("WSGI_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let ask = "import sys, sysconfig as s; print(sys.executable); print(s.get_config_var('LIBDIR') + '/' + s.get_config_var('INSTSONAME'))";
    let output = Command::new(python).args(["-c", ask]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (executable, library) = text.trim().split_once('\n')?;
    Some((executable.to_owned(), PathBuf::from(library)))
        .filter(|(_, library)| library.exists() && library.extension().is_none_or(|kind| kind != "a"))
}

fn payload(script: &Path, path: &str, group: &str) -> Vec<u8> {
    use std::os::unix::fs::MetadataExt;
    let state = std::fs::metadata(script).expect("it exists");
    let script = script.to_str().expect("a plain path").as_bytes();
    let head = Head {
        flags: RELOAD,
        log_level: 7,
        mtime_us: state.mtime() * 1_000_000 + state.mtime_nsec() / 1000,
        request_start_us: 2,
        queue_start_us: 0,
        script,
        callable: b"application",
        application_group: group.as_bytes(),
    };
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, &head);
    encoder.put(b"REQUEST_METHOD", b"GET");
    encoder.put(b"PATH_INFO", path.as_bytes());
    for name in wsgi_wire::keys::KNOWN.iter().filter(|name| name.starts_with("HTTP_")).take(25) {
        encoder.put(name.as_bytes(), b"some value");
    }
    encoder.finish();
    out
}

/// CPU time of this thread, which other load on the machine changes little.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below a second"))
}

unsafe extern "C" fn server_metrics() -> i32 {
    -1
}

#[test]
fn python_runs_in_this_process() {
    let Some((executable, library)) = python() else {
        return eprintln!("skipped: this python3 has no shared libpython");
    };
    open(&library, libc::RTLD_NOW | libc::RTLD_GLOBAL);
    let engine = open(&engine(), libc::RTLD_NOW);
    let (embed, run, finish): (Embed, Run, Finish) =
        (find(engine, EMBED_SYMBOL), find(engine, RUN_SYMBOL), find(engine, FINISH_SYMBOL));
    let folder = std::env::temp_dir().join(format!("wsgi-embed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let script = folder.join("app.wsgi");
    std::fs::write(&script, APP).expect("a file");
    let asked = executable.clone();
    let config = EmbedConfig {
        free_threading: false,
        python_from: "the default".to_owned(),
        protocol: wsgi_wire::PROTOCOL,
        python: executable,
        python_home: None,
        python_options: PythonOptions { optimize: 1, ..PythonOptions::default() },
        python_path: Vec::new(),
        layers: Vec::new(),
        multithread: true,
        multiprocess: true,
        threads: 4,
        processes: 2,
        server_metrics: false,
        telemetry: None,
        case_insensitive: false,
        log_level: 7,
        apache_version: (2, 4, 0),
        httpd: Default::default(),
        keep_streams: false,
        preload: Vec::new(),
        keep_interpreters: false,
    };
    let config = serde_json::to_vec(&config).expect("JSON");
    let host = Host { protocol: wsgi_wire::PROTOCOL, read_body, head, data, file, answer, record, server_metrics, log };
    // SAFETY: memory that is alive.
    let problem = unsafe { embed(config.as_ptr(), config.len(), &host) };
    assert!(problem.is_null());

    let call = |path: &str, group: &str, input: Option<&[u8]>| {
        let mut found = Seen { input: input.map(<[u8]>::to_vec), ..Seen::default() };
        let payload = payload(&script, path, group);
        // SAFETY: memory that is alive.
        let result = unsafe { run(payload.as_ptr(), payload.len(), (&raw mut found).cast()) };
        (result, found)
    };
    let (result, found) = call("/", "", None);
    assert_eq!((result, found.status, &found.body[..], found.flushed), (0, 200, &b"Hello"[..], 0));
    let (_, found) = call("/echo", "one", Some(b"abcdefg"));
    assert_eq!(found.body, b"abcdefg");
    let (_, found) = call("/stream", "one", None);
    assert_eq!((&found.body[..], found.flushed), (&b"onetwo"[..], 2));
    let (_, found) = call("/facts", "one", None);
    assert!(found.body.starts_with(b"('one', "), "{:?}", String::from_utf8_lossy(&found.body));
    let prefix = Command::new(&asked).args(["-c", "import sys; print(sys.prefix)"]).output().expect("it runs").stdout;
    let facts = String::from_utf8_lossy(&found.body).into_owned();
    assert!(facts.ends_with(&format!("'{}', 1)", String::from_utf8_lossy(&prefix).trim())), "{facts}");
    assert_eq!(found.logs, ["printed"]);
    let (result, found) = call("/raise", "", None);
    assert_eq!((result, found.status, found.logs.last().map(String::as_str)), (1, 0, Some("ValueError: raised")));
    let (result, found) = call("/echo", "", None);
    assert_eq!(result, 1, "{:?}", found.logs);

    // A changed script is executed again.
    std::fs::write(&script, APP.replace("Hello", "Changed")).expect("a file");
    let (_, found) = call("/", "", None);
    // The line about it is one of the process.
    assert_eq!((&found.body[..], found.logs.len()), (&b"Changed"[..], 0));

    // Threads that come and go, in three interpreters.
    for _ in 0..20 {
        std::thread::scope(|scope| {
            let threads = (0..8).map(|number| {
                let call = |group: &str| {
                    let payload = payload(&script, "/", group);
                    let mut found = Seen::default();
                    // SAFETY: memory that is alive.
                    unsafe { run(payload.as_ptr(), payload.len(), (&raw mut found).cast()) };
                    assert_eq!(found.body, b"Changed");
                };
                scope.spawn(move || (0..20).for_each(|at| call(["", "one", "two"][(number + at) % 3])))
            });
            // Until they have given back their thread states: the end of a scope does not wait for that.
            threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        });
    }
    if std::env::var_os("WSGI_BENCH").is_some() {
        for _ in 0..3 {
            let begin = cpu_time();
            let payload = payload(&script, "/", "");
            let mut found = Seen::default();
            for _ in 0..200_000 {
                found.body.clear();
                // SAFETY: memory that is alive.
                unsafe { run(payload.as_ptr(), payload.len(), (&raw mut found).cast()) };
            }
            eprintln!("{:.3} us of CPU per request", (cpu_time() - begin).as_secs_f64() * 5.0);
        }
    }
    // SAFETY: no request runs.
    assert_eq!(unsafe { finish(5000) }, 0);
    let (result, _) = call("/", "", None);
    assert_eq!(result, response::Failure::Interpreter as i32);
    std::fs::remove_dir_all(&folder).expect("removed");
}
