//! What keeps a command from being done: one line of cause, one of cure. `main.rs` prints it.

use std::fmt;

/// A cause and its cure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub cure: String,
}

impl Problem {
    /// A problem with this cause and cure.
    pub fn new(cause: impl Into<String>, cure: impl Into<String>) -> Problem {
        Problem { cause: cause.into(), cure: cure.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mod_wsgi-express: {}\nto mend it: {}", self.cause, self.cure)
    }
}
