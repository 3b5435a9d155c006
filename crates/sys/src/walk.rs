//! The walk along a path as the kernel takes it, one component and one symbolic link at a time, so that callers can
//! check each step. Callers: [`crate::file`], which checks whose the links are; the supervisor's diagnosis, which checks
//! the rights of a user.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

/// Most links that are followed, as in the kernel.
const MAX_LINKS: u32 = 40;

/// One step of a walk.
#[derive(Debug)]
pub enum Step<'w> {
    /// The walk goes through this directory to the next component.
    Enter(&'w Path),
    /// The walk follows a symbolic link.
    Follow {
        /// Where the link lies.
        link: &'w Path,
        /// The link itself, and not what it leads to.
        found: &'w Metadata,
        /// What the link holds.
        target: &'w Path,
    },
}

/// Why a walk did not arrive.
#[derive(Debug)]
pub enum Stop<E> {
    /// The system cannot tell what lies at this place.
    At(PathBuf, io::Error),
    /// The path leads through more symbolic links than the kernel follows.
    TooManyLinks,
    /// The caller's check has refused a step.
    Refused(E),
}

/// Walks `path`, and calls `check` before each step. Absolute paths and links begin at `root`, and `..` does not lead out
/// of it. Returns the place to which the path leads, which is no link.
///
/// # Errors
/// The first step that failed or that `check` refused.
pub fn walk<E>(root: &Path, path: &Path, mut check: impl FnMut(Step<'_>) -> Result<(), E>) -> Result<PathBuf, Stop<E>> {
    let mut links = 0;
    let mut at = root.to_path_buf();
    let mut left = parts(path);
    while let Some(part) = left.pop() {
        check(Step::Enter(&at)).map_err(Stop::Refused)?;
        if part == ".." {
            if at != root {
                at.pop();
            }
            continue;
        }
        let next = at.join(part);
        let found = match fs::symlink_metadata(&next) {
            Ok(found) => found,
            Err(error) => return Err(Stop::At(next, error)),
        };
        if !found.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Stop::TooManyLinks);
        }
        let target = match fs::read_link(&next) {
            Ok(target) => target,
            Err(error) => return Err(Stop::At(next, error)),
        };
        check(Step::Follow { link: &next, found: &found, target: &target }).map_err(Stop::Refused)?;
        if target.is_absolute() {
            at = root.to_path_buf();
        }
        left.extend(parts(&target));
    }
    Ok(at)
}

/// The components, last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    let mut parts: Vec<_> = path.components().filter_map(part).collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// The steps of a walk in `root`, as text, and where it ends.
    fn steps(root: &Path, path: &str) -> (Vec<String>, Result<PathBuf, Stop<()>>) {
        let mut steps = Vec::new();
        let name = |place: &Path| place.strip_prefix(root).expect("inside").display().to_string();
        let end = walk(root, Path::new(path), |step| {
            steps.push(match step {
                Step::Enter(place) => name(place),
                Step::Follow { link, target, .. } => format!("{} -> {}", name(link), target.display()),
            });
            Ok(())
        });
        (steps, end)
    }

    #[test]
    fn a_walk_takes_the_kernels_way_and_stays_in_its_root() {
        let root = std::env::temp_dir().join(format!("wsgi-walk-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("a/b")).expect("folders");
        fs::write(root.join("a/file"), "").expect("file");
        symlink("/a", root.join("absolute")).expect("link");
        symlink("../../../a/file", root.join("a/b/relative")).expect("link");
        symlink("round", root.join("round")).expect("link");
        let (told, end) = steps(&root, "/absolute/b/./relative");
        assert_eq!(
            told,
            ["", "absolute -> /a", "", "a", "a/b", "a/b/relative -> ../../../a/file", "a/b", "a", "", "", "a"]
        );
        assert_eq!(end.expect("arrived"), root.join("a/file"));
        assert!(matches!(steps(&root, "/round").1, Err(Stop::TooManyLinks)));
        let (told, end) = steps(&root, "/a/none/more");
        assert_eq!(told, ["", "a"]);
        assert!(matches!(end, Err(Stop::At(place, error))
            if place == root.join("a/none") && error.kind() == io::ErrorKind::NotFound));
        let refused = walk(&root, Path::new("a"), |_| Err("closed"));
        assert!(matches!(refused, Err(Stop::Refused("closed"))));
        fs::remove_dir_all(&root).expect("removed");
    }
}
