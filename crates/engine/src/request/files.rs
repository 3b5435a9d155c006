//! The files for which a script could not be loaded, and whether one of them has changed since. Plain `stat`,
//! no GIL: what a failed application left running in Python cannot keep it from being mended.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often to look.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// Most files and directories that are watched: those that matter most come first.
pub const MOST: usize = 500;
/// How long to wait for the rest of a change that was going on while the script was loaded.
const SETTLE: Duration = Duration::from_secs(1);
/// File systems date a change by the last tick of the kernel's clock.
const TICK: Duration = Duration::from_millis(20);

/// What may matter about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// Source code: any change.
    Source,
    /// A directory in which modules are looked for: what could be imported from it. (Its time of change alone would
    /// also tell of log files, databases and `__pycache__`.)
    Modules,
    /// Something that the application opened, or could not open: whether it is there, and who may use it.
    Presence,
}

/// A path and what matters about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// What matters.
    pub aspect: Aspect,
    /// The file or directory; it need not exist.
    pub path: PathBuf,
}

impl Concern {
    /// Reads the form in which Python names one: a letter (`s`ource, `m`odules, `p`resence) and the path.
    pub fn read(text: &[u8]) -> Option<Concern> {
        let (letter, path) = text.split_first()?;
        let aspect = match letter {
            b's' => Aspect::Source,
            b'm' => Aspect::Modules,
            b'p' => Aspect::Presence,
            _ => return None,
        };
        Some(Concern { aspect, path: PathBuf::from(OsStr::from_bytes(path)) })
    }
}

/// What identifies a version of a file: device, inode, size, and the nanoseconds of both times of change.
type Version = (u64, u64, u64, i128, i128);

fn version(found: &Metadata) -> Version {
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let modified = nanoseconds(found.mtime(), found.mtime_nsec());
    (found.dev(), found.ino(), found.size(), modified, nanoseconds(found.ctime(), found.ctime_nsec()))
}

/// What was seen at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    File(Version),
    /// A digest of the names in it.
    Names(u64),
    /// Mode, user, group.
    Rights(u32, u32, u32),
}

#[derive(Debug)]
struct Watched {
    concern: Concern,
    seen: Seen,
    /// Version of the directory when its names were read.
    listed: Option<Version>,
}

impl Watched {
    fn new(concern: Concern) -> Watched {
        let mut it = Watched { concern, seen: Seen::Nothing, listed: None };
        it.look();
        it
    }

    /// Looks again; whether there is something new.
    fn look(&mut self) -> bool {
        let Ok(found) = fs::metadata(&self.concern.path) else {
            self.listed = None;
            return std::mem::replace(&mut self.seen, Seen::Nothing) != Seen::Nothing;
        };
        let now = match self.concern.aspect {
            Aspect::Presence => Seen::Rights(found.mode(), found.uid(), found.gid()),
            Aspect::Modules if found.is_dir() => {
                if self.listed == Some(version(&found)) {
                    return false;
                }
                self.listed = Some(version(&found));
                Seen::Names(names(&self.concern.path))
            }
            Aspect::Modules | Aspect::Source => Seen::File(version(&found)),
        };
        std::mem::replace(&mut self.seen, now) != now
    }
}

/// A digest of what could be imported from a directory.
fn names(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<OsString> = entries.filter(importable).map(|entry| entry.file_name()).collect();
    names.sort_unstable();
    let mut hasher = DefaultHasher::new();
    names.hash(&mut hasher);
    hasher.finish()
}

fn importable(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let is_module = [".py", ".pyc", ".so", ".pth"].iter().any(|end| name.as_bytes().ends_with(end.as_bytes()));
    let is_folder = || entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_symlink());
    !name.as_bytes().starts_with(b".") && name != "__pycache__" && (is_module || is_folder())
}

/// Whether a file whose last change was at `changed`, in nanoseconds since the epoch, may have changed while its script was
/// loaded. A time to come says nothing: the clock was put back since.
fn is_between(begin: SystemTime, changed: i128, now: SystemTime) -> bool {
    let nanoseconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
    };
    (nanoseconds(begin - TICK)..=nanoseconds(now + TICK)).contains(&changed)
}

/// Files and directories that are looked at again and again.
#[derive(Debug)]
pub struct Watch {
    all: Vec<Watched>,
    /// A source changed while Python may have read it: [`Watch::look`] tells of it at this time.
    unsettled: Option<(Instant, PathBuf)>,
}

impl Watch {
    /// Watches `concerns`, no more than [`MOST`], for changes since `begin`, when loading began.
    pub fn new(concerns: Vec<Concern>, begin: SystemTime) -> Watch {
        let mut all: Vec<Watched> = Vec::new();
        for concern in concerns {
            if all.len() < MOST && !all.iter().any(|it| it.concern.path == concern.path) {
                all.push(Watched::new(concern));
            }
        }
        let now = SystemTime::now();
        let is_late = |it: &Watched| matches!(it.seen, Seen::File(found) if is_between(begin, found.4, now));
        let late = all.iter().find(|it| is_late(it));
        let unsettled = late.map(|it| (Instant::now() + SETTLE, it.concern.path.clone()));
        Watch { all, unsettled }
    }

    /// What has changed since the last call, and must be told of `now`; of several files, one.
    pub fn look(&mut self, now: Instant) -> Option<PathBuf> {
        // All of them: one change of several files is one change.
        let changed: Vec<_> = self.all.iter_mut().filter_map(|it| it.look().then(|| it.concern.path.clone())).collect();
        let settled = self.unsettled.take_if(|(at, _)| now >= *at).map(|(_, path)| path);
        let changed = changed.into_iter().next();
        if changed.is_some() {
            self.unsettled = None;
        }
        changed.or(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(watch: &mut Watch, now: Instant) -> bool {
        watch.look(now).is_some()
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("wsgi-files-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder");
            Folder(path)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).expect("a file");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn watch(aspect: Aspect, path: &Path) -> Watch {
        let concerns = vec![Concern { aspect, path: path.to_path_buf() }];
        Watch::new(concerns, SystemTime::now() + Duration::from_secs(3600))
    }

    #[test]
    fn a_change_in_the_future_is_none_while_a_script_was_loaded() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let changed = |seconds: i128| is_between(at(1_000), seconds * 1_000_000_000, at(1_010));
        assert_eq!([999, 1_000, 1_010, 1_011, 4_600].map(changed), [false, true, true, false, false]);
    }

    #[test]
    fn what_python_names_is_read() {
        let concern = Concern { aspect: Aspect::Modules, path: "/srv/app".into() };
        assert_eq!(Concern::read(b"m/srv/app"), Some(concern));
        assert_eq!((Concern::read(b""), Concern::read(b"x/srv")), (None, None));
    }

    #[test]
    fn a_change_of_a_source_is_told_of_once() {
        let folder = Folder::new("source");
        let path = folder.write("a.py", "one");
        let mut watch = watch(Aspect::Source, &path);
        assert!(!changed(&mut watch, Instant::now()));
        folder.write("a.py", "three");
        assert!(changed(&mut watch, Instant::now()) && !changed(&mut watch, Instant::now()));
        fs::remove_file(&path).expect("it is there");
        assert!(changed(&mut watch, Instant::now()) && !changed(&mut watch, Instant::now()));
        folder.write("a.py", "three");
        assert!(changed(&mut watch, Instant::now()) && !changed(&mut watch, Instant::now()));
    }

    #[test]
    fn of_a_directory_only_modules_count() {
        let folder = Folder::new("modules");
        let mut watch = watch(Aspect::Modules, &folder.0);
        folder.write("data.db-journal", "");
        folder.write(".hidden.py", "");
        fs::create_dir(folder.0.join("__pycache__")).expect("a folder");
        assert!(!changed(&mut watch, Instant::now()));
        folder.write("missing.py", "");
        assert!(changed(&mut watch, Instant::now()) && !changed(&mut watch, Instant::now()));
        fs::create_dir(folder.0.join("package")).expect("a folder");
        assert!(changed(&mut watch, Instant::now()));
    }

    #[test]
    fn a_directory_may_come_later() {
        let folder = Folder::new("later");
        let mut watch = watch(Aspect::Modules, &folder.0.join("lib"));
        assert!(!changed(&mut watch, Instant::now()));
        fs::create_dir(folder.0.join("lib")).expect("a folder");
        assert!(changed(&mut watch, Instant::now()));
    }

    #[test]
    fn what_is_written_to_a_file_that_was_opened_does_not_count() {
        let folder = Folder::new("presence");
        let path = folder.write("app.log", "one");
        let mut present = watch(Aspect::Presence, &path);
        let mut absent = watch(Aspect::Presence, &folder.0.join("settings.ini"));
        folder.write("app.log", "one two");
        assert!(!changed(&mut present, Instant::now()) && !changed(&mut absent, Instant::now()));
        folder.write("settings.ini", "");
        assert!(changed(&mut absent, Instant::now()));
    }

    #[test]
    fn a_change_while_the_script_was_loaded_is_told_of_when_it_has_settled() {
        let folder = Folder::new("unsettled");
        let path = folder.write("a.py", "half");
        let concerns = vec![Concern { aspect: Aspect::Source, path }];
        let now = Instant::now();
        let mut watch = Watch::new(concerns, SystemTime::now());
        assert!(!changed(&mut watch, now));
        assert!(changed(&mut watch, now + 2 * SETTLE) && !changed(&mut watch, now + 3 * SETTLE));
    }

    #[test]
    fn there_is_a_bound() {
        let many = (0..2 * MOST).map(|number| Concern { aspect: Aspect::Source, path: format!("/{number}").into() });
        assert_eq!(Watch::new(many.collect(), SystemTime::now()).all.len(), MOST);
    }
}
