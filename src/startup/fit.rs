//! Checks whether a file that lies beside the module belongs to it: whether it is made for the same machine, and of the
//! same build. The check only reads the file, because running a file that does not fit may do anything. Caller:
//! `companions`.

#![forbid(unsafe_code)]

use std::fs::File;

use memchr::memmem;
use object::{Object, ObjectSection, ReadCache, SectionKind};
use wsgi_wire::build::{END, MARK};

/// The longest text of a build.
const LONGEST: usize = 200;

/// What a program or a library says of itself.
#[derive(Debug, PartialEq)]
struct Facts {
    /// The machine, the size of its addresses in bits, and the order of its bytes.
    machine: String,
    /// The build; `None` in what is no file of ours.
    build: Option<String>,
}

/// Checks the file.
///
/// # Errors
/// A clause that goes on after the name of the file.
pub(super) fn check(file: &File) -> Result<(), String> {
    let found = facts(file).ok_or("it is neither a program nor a library (ELF)")?;
    let httpd = File::open("/proc/self/exe").ok().and_then(|file| facts(&file));
    judge(&found, httpd.as_ref().map(|httpd| httpd.machine.as_str()), wsgi_wire::build::text())
}

/// Compares with httpd's machine, where that is known, and with the module's build.
fn judge(found: &Facts, machine: Option<&str>, build: &str) -> Result<(), String> {
    if let Some(machine) = machine.filter(|machine| *machine != found.machine) {
        return Err(format!("it is made for {}, but httpd for {machine}", found.machine));
    }
    match &found.build {
        None => Err("it is not a file of mod_wsgi, or its build is unknown".to_owned()),
        Some(other) if other != build => Err(format!(
            "it belongs to mod_wsgi {other}, and the module to mod_wsgi {build}; the module, wsgi-supervisor and the engine \
             must be of one build"
        )),
        Some(_) => Ok(()),
    }
}

fn facts(file: &File) -> Option<Facts> {
    let cache = ReadCache::new(file);
    let parsed = object::File::parse(&cache).ok()?;
    let (bits, order) =
        (if parsed.is_64() { 64 } else { 32 }, if parsed.is_little_endian() { "little" } else { "big" });
    let machine = format!("{:?} ({bits} bits, {order} endian)", parsed.architecture());
    let is_constant = |kind| matches!(kind, SectionKind::ReadOnlyData | SectionKind::ReadOnlyString);
    let constants = parsed.sections().filter(|section| is_constant(section.kind()));
    let build = constants.filter_map(|section| build_in(section.data().ok()?)).next();
    Some(Facts { machine, build })
}

/// The text of the build in the constants of a file.
fn build_in(constants: &[u8]) -> Option<String> {
    memmem::find_iter(constants, MARK).find_map(|at| {
        let rest = &constants[at + MARK.len()..];
        let rest = &rest[..rest.len().min(LONGEST)];
        let text = std::str::from_utf8(&rest[..rest.iter().position(|byte| *byte == END as u8)?]).ok()?;
        // Elsewhere in the constants the mark may stand alone.
        text.starts_with(|first: char| first.is_ascii_digit()).then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_its_machine_and_its_build() {
        let own = facts(&File::open("/proc/self/exe").unwrap()).unwrap();
        assert_eq!(own.build.as_deref(), Some(wsgi_wire::build::text()));
        assert!(own.machine.contains(if cfg!(target_endian = "little") { "little endian" } else { "big endian" }));
        assert_eq!(check(&File::open("/proc/self/exe").unwrap()), Ok(()));
        assert!(check(&File::open("/proc/self/environ").unwrap()).unwrap_err().contains("neither a program"));
        assert!(check(&File::open("/bin/sh").unwrap()).unwrap_err().contains("not a file of mod_wsgi"));
    }

    #[test]
    fn both_builds_are_named() {
        let facts = |build: Option<&str>| Facts { machine: "X".to_owned(), build: build.map(str::to_owned) };
        assert_eq!(judge(&facts(Some("1")), Some("X"), "1"), Ok(()));
        assert_eq!(judge(&facts(Some("1")), None, "1"), Ok(()));
        let other = judge(&facts(Some("2")), Some("X"), "1").unwrap_err();
        assert!(other.starts_with("it belongs to mod_wsgi 2, and the module to mod_wsgi 1; "), "{other}");
        assert_eq!(judge(&facts(Some("1")), Some("Y"), "1").unwrap_err(), "it is made for X, but httpd for Y");
    }

    #[test]
    fn the_mark_alone_is_no_build() {
        // Put together at run time: this program's own constants are looked at, too.
        let in_file = |parts: [&[u8]; 2]| [&[MARK.as_bytes()][..], &parts].concat().concat();
        let twice = in_file([b"..", &in_file([b"1.2 (x);", b".."])]);
        assert_eq!(build_in(&twice).as_deref(), Some("1.2 (x)"));
        for none in [&b""[..], b"1", b"\xff1;", b"x;"] {
            assert_eq!(build_in(&in_file([none, b""])), None, "{none:?}");
        }
    }
}
