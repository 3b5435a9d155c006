//! The files that are installed beside the module: the supervisor and the engine.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Name of the supervisor's file.
const SUPERVISOR: &str = "wsgi-supervisor";
/// Names of the engine's file: as cargo makes it, and as packages install it.
const ENGINE: [&str; 2] = ["libwsgi_engine.so", "wsgi_engine.abi3.so"];
/// Where packages put both, below the directory of httpd's modules or at a fixed place.
const DIRECTORIES: [&str; 4] = ["", "mod_wsgi", "/usr/lib/mod_wsgi", "/usr/libexec/mod_wsgi"];

/// Whether the path of a script is a directory, so that many scripts can stand behind it.
pub(super) fn is_directory(path: &[u8]) -> bool {
    Path::new(OsStr::from_bytes(path)).is_dir()
}

/// Path of the supervisor.
///
/// # Errors
/// A sentence that names the places where it was looked for.
pub(super) fn supervisor() -> Result<PathBuf, String> {
    find(&[SUPERVISOR])
}

/// The engine, opened: its path need not be reachable for those who load it, only the file readable.
///
/// # Errors
/// A sentence that names what is missing.
pub(super) fn open_engine() -> Result<OwnedFd, String> {
    let path = find(&ENGINE)?;
    let file = File::open(&path).map_err(|error| format!("cannot open the engine {}: {error}", path.display()))?;
    // Descriptors 0 to 9 are what children of the supervisor expect elsewhere.
    wsgi_sys::fd::duplicate(std::os::fd::AsFd::as_fd(&file), 10).map_err(|error| format!("no descriptor: {error}"))
}

fn find(names: &[&str]) -> Result<PathBuf, String> {
    let image = crate::httpd::module::image_path().ok_or("the module's own file cannot be found")?;
    let home = image.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut places = Vec::new();
    for place in DIRECTORIES {
        places.extend(names.iter().map(|name| home.join(place).join(name)));
    }
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let tried: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
        format!("{} is missing; tried {}; install it beside the module", names[0], tried.join(", "))
    })
}
