//! The files that are installed beside the module: the supervisor and the engines. They are opened once and reached by
//! descriptor from then on, so that they work from directories that only root can enter, and so that httpd can go on
//! with them when other files, or none, lie in their place.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use wsgi_sys::{access, fd};
use wsgi_wire::engines::{self, Engines};

use super::fit;
use crate::httpd::process;
use crate::httpd::server::Server;

/// Name of the supervisor's file.
const SUPERVISOR: &str = "wsgi-supervisor";
/// Names of the engine's file: as cargo makes it, and as packages install it.
const ENGINE: [&str; 2] = ["libwsgi_engine.so", "wsgi_engine.abi3.so"];
/// Where packages put both, below the directory of httpd's modules or at a fixed place.
const DIRECTORIES: [&str; 4] = ["", "mod_wsgi", "/usr/lib/mod_wsgi", "/usr/libexec/mod_wsgi"];
/// Key of the files in the process pool: as for the record of the supervisor, a digest of what decides its layout.
const KEY: &str = concat!("mod_wsgi-companions-", env!("CARGO_PKG_VERSION"), "-", env!("WSGI_LAYOUT"));
/// The lowest number for these descriptors: processes that the parent starts expect other things at the numbers below.
const LOWEST: i32 = 10;

/// Whether the path of a script is a directory, so that many scripts can stand behind it.
pub(super) fn is_directory(path: &[u8]) -> bool {
    Path::new(OsStr::from_bytes(path)).is_dir()
}

/// The files, opened, and of the module's own build.
#[derive(Debug)]
pub(super) struct Companions {
    /// The engines, to be read by those who load one.
    pub(super) engines: Engines<OwnedFd>,
    /// The supervisor, to be executed.
    pub(super) supervisor: OwnedFd,
}

impl Companions {
    /// Finds, checks and opens the files that are installed now.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub(super) fn open() -> Result<Companions, String> {
        let supervisor = find("the supervisor", &[SUPERVISOR])?;
        let engine = find("the engine", &ENGINE)?;
        access::check(&supervisor, false, true)
            .map_err(|error| format!("the supervisor {} cannot be executed: {error}", supervisor.display()))?;
        let open = |what: &str, path: &Path| {
            let failed = |error: &dyn std::fmt::Display| format!("{what} {} is unusable: {error}", path.display());
            let file = File::open(path).map_err(|error| failed(&error))?;
            fit::check(&file).map_err(|error| failed(&error))?;
            fd::duplicate(file.as_fd(), LOWEST).map_err(|error| failed(&error))
        };
        let free = free_threaded(engine.parent()).into_iter();
        // One of another build is as good as none: who needs it says so.
        let free = free.filter_map(|(tag, path)| Some((tag, open("the engine", &path).ok()?)));
        let engines = Engines { usual: open("the engine", &engine)?, free: free.collect() };
        Ok(Companions { supervisor: open("the supervisor", &supervisor)?, engines })
    }

    /// Duplicates the descriptors of the files.
    ///
    /// # Errors
    /// When descriptors are exhausted.
    pub(super) fn again(&self) -> io::Result<Companions> {
        let copy = |file: &OwnedFd| fd::duplicate(file.as_fd(), LOWEST);
        Ok(Companions { engines: self.engines.try_map(copy)?, supervisor: copy(&self.supervisor)? })
    }

    /// Whether nothing else was written into the files since they were opened.
    fn still_fit(&self) -> bool {
        let fits = |file: &OwnedFd| file.try_clone().is_ok_and(|file| fit::check(&File::from(file)).is_ok());
        self.engines.all().all(fits) && fits(&self.supervisor)
    }
}

/// The files for a configuration: those that are installed now, or else, in a running httpd, those that it has opened
/// before. In the second case the text says why httpd cannot use the installed ones.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub(super) fn for_configuration(main: Server<'_>) -> Result<(Companions, Option<String>), String> {
    let known = process::kept::<Option<Companions>>(main, KEY);
    match Companions::open() {
        Ok(found) => {
            let copy = found.again().map_err(|error| error.to_string())?;
            match known {
                Some(known) => *known = Some(copy),
                None => drop(process::keep(main, KEY, Some(copy))),
            }
            Ok((found, None))
        }
        Err(why) => {
            match known.and_then(|known| known.as_ref()).filter(|known| known.still_fit()).map(Companions::again) {
                Some(Ok(known)) => Ok((known, Some(why))),
                _ => Err(why),
            }
        }
    }
}

/// In a child: closes the files. A child has those of the engines for embedded mode already, and starts nothing else.
pub(super) fn forget_in_child(main: Server<'_>) {
    if let Some(known) = process::kept::<Option<Companions>>(main, KEY) {
        *known = None;
    }
}

/// The path by which a process that has the supervisor's file as this descriptor executes it.
pub(super) fn own_path(descriptor: i32) -> CString {
    CString::new(format!("/dev/fd/{descriptor}")).unwrap_or_default()
}

/// The supervisor's arguments: `first`, and the engines for free-threaded Python that it gets.
pub(super) fn arguments(first: &[&CStr], engines: &Engines<OwnedFd>) -> Vec<CString> {
    let tags = engines.free.iter().map(|(tag, _)| CString::new(tag.as_str()).unwrap_or_default());
    first.iter().map(|text| CString::from(*text)).chain(tags).collect()
}

/// The engines for free-threaded Python in this directory, with their tags, in the order of these.
fn free_threaded(directory: Option<&Path>) -> Vec<(String, PathBuf)> {
    let entries = directory.and_then(|directory| directory.read_dir().ok()).into_iter().flatten().flatten();
    let tagged = |path: PathBuf| Some((engines::tag(path.file_name()?.to_str()?)?.to_owned(), path));
    let mut found: Vec<_> = entries.filter_map(|entry| tagged(entry.path())).collect();
    found.sort();
    found
}

fn find(what: &str, names: &[&str]) -> Result<PathBuf, String> {
    let image = crate::httpd::module::image_path().ok_or("the module's own file cannot be found")?;
    let home = image.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut places = Vec::new();
    for place in DIRECTORIES {
        places.extend(names.iter().map(|name| home.join(place).join(name)));
    }
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let tried: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
        format!("{what} {} is missing; tried {}; install it beside the module", names[0], tried.join(", "))
    })
}
