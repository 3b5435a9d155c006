//! Where is the libpython of an interpreter? Asked of the interpreter itself. Callers: the httpd module, before it starts
//! Python in a child; the doctor. They run the interpreter, with [`ARGUMENTS`].

use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Prints what [`Answer`] holds, a line each.
const QUESTION: &str = "import sysconfig as s, sys\n\
    v = s.get_config_var\n\
    for x in (s.get_python_version(), v('Py_ENABLE_SHARED') or 0, v('Py_GIL_DISABLED') or 0, v('INSTSONAME') or '',\n\
     v('LDLIBRARY') or '', v('LIBDIR') or '', v('LIBPL') or '', sys.base_prefix): print(x)";

/// Arguments of the interpreter.
pub const ARGUMENTS: [&str; 3] = ["-I", "-c", QUESTION];

/// What an interpreter says of its library.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    version: String,
    shared: bool,
    free_threaded: bool,
    names: Vec<String>,
    directories: Vec<PathBuf>,
}

/// The library to open.
#[derive(Debug, PartialEq, Eq)]
pub struct Library {
    /// Where it is.
    pub path: PathBuf,
    /// Which engine goes with it, as [`crate::engines::Engines::of`] takes it.
    pub tag: Option<String>,
}

/// The library to open, from what the interpreter `python` answered. `is_file`: whether there is such a file.
///
/// # Errors
/// A clause that says what was tried and what to do.
pub fn library(python: &str, answered: io::Result<Output>, is_file: impl Fn(&Path) -> bool) -> Result<Library, String> {
    let output = answered.map_err(|error| format!("{python} cannot be executed: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{python} fails ({}): {}", output.status, why.trim()));
    }
    let answer = parse(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| format!("{python} does not answer like a Python interpreter"))?;
    choose(python, &answer, is_file)
}

/// Major and minor number of the interpreter that answered.
pub fn version(answered: &io::Result<Output>) -> Option<(u32, u32)> {
    let answer = parse(&String::from_utf8_lossy(&answered.as_ref().ok()?.stdout))?;
    let (major, minor) = answer.version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn parse(text: &str) -> Option<Answer> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let [version, shared, free_threaded, soname, library, libdir, libpl, prefix] = lines[..] else { return None };
    let names = [soname, library].into_iter().filter(|name| name.contains(".so") || name.contains(".dylib"));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.dedup();
    let lib = Path::new(prefix).join("lib");
    let directories = [Path::new(libdir), &lib, Path::new(libpl)];
    Some(Answer {
        version: version.to_owned(),
        shared: shared == "1",
        free_threaded: free_threaded == "1",
        names,
        directories: directories.iter().filter(|path| path.is_absolute()).map(|path| path.to_path_buf()).collect(),
    })
}

fn choose(python: &str, answer: &Answer, exists: impl Fn(&Path) -> bool) -> Result<Library, String> {
    if !answer.shared || answer.names.is_empty() {
        return Err(format!(
            "{python} (Python {}) was built without a shared libpython, so it can only \
             run as a program of its own; use daemon mode (WSGIDaemonProcess with python-home or python), or a Python \
             built with --enable-shared",
            answer.version
        ));
    }
    let places = answer.directories.iter().flat_map(|place| answer.names.iter().map(move |name| place.join(name)));
    let places: Vec<PathBuf> = places.collect();
    let tag = answer.free_threaded.then(|| format!("cp{}t", answer.version.replace('.', "")));
    let found = places.iter().find(|path| exists(path)).cloned();
    found.map(|path| Library { path, tag }).ok_or_else(|| {
        let tried: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        format!(
            "the libpython of {python} is not installed; tried {}; install it (Debian: \
             libpython{}), or use daemon mode (WSGIDaemonProcess), which does not need it",
            tried.join(", "),
            answer.version
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "3.11\n1\n0\nlibpython3.11.so.1.0\nlibpython3.11.so\n/usr/lib/x86_64-linux-gnu\n\
        /usr/lib/python3.11/config-3.11-x86_64-linux-gnu\n/usr\n";
    const STATIC: &str = "3.12\n0\n0\nlibpython3.12.a\nlibpython3.12.a\n/opt/lib\n/opt/lib/config\n/opt\n";

    #[test]
    fn the_first_place_that_exists_is_taken() {
        let answer = parse(DEBIAN).expect("eight lines");
        let found = choose("python3", &answer, |path| path.starts_with("/usr/lib/x86_64-linux-gnu"));
        let path = PathBuf::from("/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0");
        assert_eq!(found, Ok(Library { path, tag: None }));
    }

    #[test]
    fn the_answer_tells_the_version() {
        let output = |text: &str| {
            use std::os::unix::process::ExitStatusExt;
            let stdout = text.as_bytes().to_vec();
            Ok(Output { status: std::process::ExitStatus::from_raw(0), stdout, stderr: Vec::new() })
        };
        assert_eq!(version(&output(DEBIAN)), Some((3, 11)));
        assert_eq!(version(&output("hello")), None);
        assert_eq!(version(&Err(io::Error::other("gone"))), None);
    }

    #[test]
    fn a_static_python_is_told_to_use_daemon_mode() {
        let error = choose("/opt/bin/python3", &parse(STATIC).expect("eight lines"), |_| true).expect_err("static");
        assert!(error.contains("without a shared libpython") && error.contains("WSGIDaemonProcess"), "{error}");
    }

    #[test]
    fn a_missing_library_names_the_places_and_the_package() {
        let error = choose("python3", &parse(DEBIAN).expect("eight lines"), |_| false).expect_err("missing");
        assert!(error.contains("/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0"), "{error}");
        assert!(error.contains("libpython3.11)"), "{error}");
    }

    #[test]
    fn a_free_threaded_python_has_an_engine_of_its_own_and_nonsense_is_no_answer() {
        let text = DEBIAN.replacen("3.11\n1\n0\n", "3.14\n1\n1\n", 1);
        let found = choose("python3", &parse(&text).expect("eight lines"), |_| true).expect("a library");
        assert_eq!(found.tag.as_deref(), Some("cp314t"));
        assert_eq!(parse("hello"), None);
    }
}
