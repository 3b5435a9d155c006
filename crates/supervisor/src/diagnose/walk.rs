//! A walk along a path as some user would take it, by mode bits alone.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wsgi_sys::process::Ids;
use wsgi_sys::walk::{Step, Stop, walk};

use super::{Problem, venv};

/// What the user wants to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Reading a file.
    Read,
    /// Executing a program.
    Execute,
    /// Changing to a directory, and reaching what is in it.
    Enter,
    /// Listing and reaching what is in a directory.
    List,
}

impl Right {
    fn bits(self) -> u32 {
        match self {
            Right::Read => 4,
            Right::Execute | Right::Enter => 1,
            Right::List => 5,
        }
    }

    fn letters(self) -> &'static str {
        match self {
            Right::Read => "r",
            Right::Execute | Right::List => "rx",
            Right::Enter => "x",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Execute => "execute",
            Right::Enter => "enter the directory",
            Right::List => "read the directory",
        }
    }

    fn of_directory(self) -> bool {
        matches!(self, Right::Enter | Right::List)
    }
}

/// Who walks.
#[derive(Debug, Clone)]
pub struct Walker {
    /// The root directory of paths and links, as this process sees it.
    pub root: PathBuf,
    /// The same directory, as the administrator sees it: for messages and commands.
    pub host: PathBuf,
    /// Whose rights count.
    pub ids: Ids,
    /// The name for messages.
    pub user: String,
}

/// Which of a file's mode bits apply to `ids`, those of its owner, its group or others: the letter, and the shift of
/// the bits.
fn class(found: &Metadata, ids: &Ids) -> (char, u32) {
    if found.uid() == ids.uid {
        ('u', 6)
    } else if found.gid() == ids.gid || ids.groups.contains(&found.gid()) {
        ('g', 3)
    } else {
        ('o', 0)
    }
}

/// Whether the mode bits give `ids` the right. Access control lists do not count here.
fn allows(found: &Metadata, ids: &Ids, right: Right) -> bool {
    let (_, shift) = class(found, ids);
    (found.mode() >> shift) & right.bits() == right.bits()
}

fn owner(found: &Metadata) -> String {
    format!("owner {}, group {}, mode {:04o}", found.uid(), found.gid(), found.mode() & 0o7777)
}

impl Walker {
    /// Walks `path`. A problem says at which component the walk stops and why, and which link led there.
    pub fn walk(&self, path: &Path, right: Right) -> Result<(), Problem> {
        let mut link = None;
        self.follow(path, right, &mut link).map_err(|problem| match link {
            Some(link) => {
                Problem { what: format!("{}; the symbolic link {link} leads there", problem.what), ..problem }
            }
            None => problem,
        })
    }

    /// As [`Walker::walk`]; sets `led` to the last link that led somewhere else, if there was one.
    fn follow(&self, path: &Path, right: Right, led: &mut Option<String>) -> Result<(), Problem> {
        let walked = walk(&self.root, path, |step| match step {
            Step::Enter(directory) => self.enter(directory),
            Step::Follow { link, target, .. } if self.dangles(link, target) => {
                *led = None;
                Err(venv::dangling(&self.outside(path), &self.shown(link), target))
            }
            Step::Follow { link, target, .. } => {
                if target.is_absolute() {
                    *led = Some(self.shown(link));
                }
                Ok(())
            }
        });
        let at = walked.map_err(|stop| match stop {
            Stop::At(place, error) => self.missing(&place, path, &error),
            Stop::TooManyLinks => {
                *led = None;
                Problem::new(format!("{} leads through too many symbolic links", self.of_path(path)))
            }
            Stop::Refused(problem) => problem,
        })?;
        self.arrive(&at, path, right)
    }

    /// Checks the right to go through the directory `at`.
    fn enter(&self, at: &Path) -> Result<(), Problem> {
        let shown = self.shown(at);
        let here = fs::symlink_metadata(at).map_err(|error| Problem::new(format!("{shown}: {error}")))?;
        if !here.is_dir() {
            return Err(Problem::new(format!("{shown} is not a directory")));
        }
        if allows(&here, &self.ids, Right::Enter) {
            return Ok(());
        }
        Err(self.closed(at, &here, Right::Enter))
    }

    /// Checks the right to the end of the path.
    fn arrive(&self, at: &Path, path: &Path, right: Right) -> Result<(), Problem> {
        let found = fs::symlink_metadata(at).map_err(|error| self.missing(at, path, &error))?;
        let shown = self.shown(at);
        match (found.is_dir(), right) {
            (true, Right::Execute) => return Err(Problem::new(format!("{shown} is a directory, not a program"))),
            (true, Right::Read) => return Err(Problem::new(format!("{shown} is a directory, not a file"))),
            (false, right) if right.of_directory() => return Err(Problem::new(format!("{shown} is not a directory"))),
            _ => {}
        }
        if allows(&found, &self.ids, right) { Ok(()) } else { Err(self.closed(at, &found, right)) }
    }

    /// The problem that the mode bits do not give the right.
    fn closed(&self, at: &Path, found: &Metadata, right: Right) -> Problem {
        let (class, _) = class(found, &self.ids);
        let (user, verb, shown, owner) = (&self.user, right.verb(), self.shown(at), owner(found));
        let what = format!("user \"{user}\" may not {verb} {shown} ({owner})");
        if shown == "/root" {
            let why = "it is root's own and best stays closed: what others need belongs elsewhere, in /srv or /opt";
            return Problem::new(format!("{what}; {why}"));
        }
        Problem::with(what, format!("chmod {class}+{} {}", right.letters(), quoted(&self.on_host(at))))
    }

    fn missing(&self, at: &Path, whole: &Path, error: &std::io::Error) -> Problem {
        let (shown, whole) = (self.shown(at), self.of_path(whole));
        let tried = if shown == whole { String::new() } else { format!(", on the way to {whole}") };
        match error.kind() {
            std::io::ErrorKind::NotFound => Problem::new(format!("{shown} does not exist{tried}")),
            _ => Problem::new(format!("{shown}: {error}{tried}")),
        }
    }

    /// Whether a link leads nowhere.
    fn dangles(&self, link: &Path, target: &Path) -> bool {
        let place = if target.is_absolute() { self.outside(target) } else { link.with_file_name(target) };
        // If the link leads to another link, the walk itself sees where that one leads.
        fs::symlink_metadata(place).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }

    /// Where an absolute path of this root lies.
    fn outside(&self, path: &Path) -> PathBuf {
        path.strip_prefix("/").map_or_else(|_| path.to_path_buf(), |inside| self.root.join(inside))
    }

    /// A path of this root as the administrator knows it.
    pub fn of_path(&self, path: &Path) -> String {
        self.shown(&self.outside(path))
    }

    /// A place as the administrator knows it.
    fn on_host(&self, at: &Path) -> PathBuf {
        at.strip_prefix(&self.root).map_or_else(|_| at.to_path_buf(), |inside| self.host.join(inside))
    }

    /// As [`Walker::on_host`], for messages.
    fn shown(&self, at: &Path) -> String {
        self.on_host(at).display().to_string()
    }
}

/// A path as a shell takes it for one word.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
