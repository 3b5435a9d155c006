//! Runs each `test_*.py` beside this file with each Python of WSGI_TEST_PYTHONS (paths with spaces or colons between; default
//! /usr/bin/python3), or the one file that WSGI_TEST_FILE names. A Python that is not installed is left out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The engine, built now: for its tests cargo does not build a library that is no Rust library.
fn engine() -> PathBuf {
    let here = std::env::current_exe().expect("this program");
    let folder = here.parent().and_then(Path::parent).expect("the folder of the profile");
    let profile = if folder.ends_with("release") { "release" } else { "dev" };
    let build = ["build", "--quiet", "--package", "wsgi-engine", "--profile", profile];
    assert!(Command::new(env!("CARGO")).args(build).status().expect("cargo runs").success());
    folder.join("libwsgi_engine.so")
}

/// The files of tests, in the order of their names.
fn files(tests: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(tests).expect("the folder of the tests").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut files: Vec<String> = names.filter(|name| name.starts_with("test_") && name.ends_with(".py")).collect();
    files.sort();
    let wanted = std::env::var("WSGI_TEST_FILE");
    files.retain(|name| wanted.as_ref().map_or(true, |wanted| wanted == name));
    files
}

/// WSGI_TEST_JOBS is how many files run at once; they mostly wait.
#[test]
fn the_engine_serves_in_a_daemon_process() {
    let pythons = std::env::var("WSGI_TEST_PYTHONS").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    let jobs = std::env::var("WSGI_TEST_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let engine = engine();
    for python in pythons.split([' ', ':', ',']).filter(|python| Path::new(python).exists()) {
        let left = Mutex::new(files(&tests));
        let run = || {
            while let Some(file) = { left.lock().expect("no panic").pop() } {
                let status = Command::new("python3")
                    .args(["-B", "-W", "ignore", "-m", "unittest", "discover", "-p", &file, "-s"])
                    .arg(&tests)
                    .env("WSGI_TEST_PYTHON", python)
                    .env("WSGI_TEST_ENGINE", &engine)
                    .status();
                assert!(status.expect("python3 runs").success(), "{file} with {python}");
            }
        };
        std::thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(run))));
    }
}
