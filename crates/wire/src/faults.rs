//! Faults of CPython that applications meet, with the versions that have them. The engine says so when it meets one, and the
//! doctor before that.

/// Major, minor and micro number at the start of a text: `3.12.1 /srv/venv`. What is missing is 0.
pub fn version(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.split(['.', ' ', '+', '\n']).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// Whether `str()` is wrong in the sub-interpreters of this version: python/cpython issue 117482. 3.12 gave each
/// interpreter its own copy of what built-in types inherit, 3.12.5 copies it right.
pub fn has_wrong_str(version: (u32, u32, u32)) -> bool {
    ((3, 12, 0)..(3, 12, 5)).contains(&version)
}

/// What to say of it. `python`: version and path.
pub fn wrong_str(python: &str) -> String {
    format!(
        "{python} has a fault in sub-interpreters: str() and format() of some objects are wrong, so that Django shows [] for \
         a form without errors, and <Kind.A: 1> for a number of an IntEnum (CPython issue 117482). Use Python 3.12.5 or \
         later, or the main interpreter: a process group for the application alone, or application-group=%{{GLOBAL}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_that_have_it() {
        assert_eq!(
            ["3.12.1 /usr", "3.13.0+", "3.11.2\n", "x"].map(version),
            [(3, 12, 1), (3, 13, 0), (3, 11, 2), (0, 0, 0)]
        );
        let has = [(3, 11, 9), (3, 12, 0), (3, 12, 4), (3, 12, 5), (3, 13, 0)].map(has_wrong_str);
        assert_eq!(has, [false, true, true, false, false]);
    }
}
