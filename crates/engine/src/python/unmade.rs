//! Application groups whose interpreter could not be made: when the process tries again, and what the log says
//! meanwhile.

use std::time::{Duration, Instant};

/// What is known of attempts to make an interpreter, which all failed.
pub struct Failed {
    /// How many.
    pub attempts: u32,
    /// The last one's exception, as one line.
    pub cause: String,
    /// When the process tries again; `None`: never.
    pub again: Option<Instant>,
}

/// Why an interpreter could not be made.
pub struct Unmade {
    /// The exception as one line.
    pub cause: String,
    /// Where it was raised; may be empty.
    pub traceback: String,
    /// Another attempt leaves nothing behind.
    pub is_repeatable: bool,
}

impl Unmade {
    /// For this cause, without a traceback.
    pub fn new(cause: &str) -> Unmade {
        Unmade { cause: cause.to_owned(), traceback: String::new(), is_repeatable: true }
    }
}

/// The pause after so many attempts that failed: 1 s, 2 s ... 60 s.
pub fn pause_after(attempts: u32) -> Duration {
    Duration::from_secs(1 << attempts.saturating_sub(1).min(6)).min(Duration::from_secs(60))
}

impl Failed {
    /// No attempt is due.
    pub fn is_final(&self, now: Instant) -> bool {
        self.again.is_none_or(|again| now < again)
    }

    /// What is logged of an attempt.
    pub fn report(&self, application_group: &[u8], traceback: &str) -> String {
        let Failed { attempts, cause, .. } = self;
        let next = match self.again {
            Some(_) => format!("the next attempt is at least {} s from now", pause_after(*attempts).as_secs()),
            None => "threads run already in the unfinished interpreter, so this process does not try again".to_owned(),
        };
        let name = String::from_utf8_lossy(application_group);
        let text = format!(
            "cannot make the interpreter of application group '{name}' (attempt {attempts}): {cause}; its requests get 500, \
             and {next}\n{traceback}"
        );
        text.trim_end().to_owned()
    }

    /// What is logged of a request between two attempts.
    pub fn refusal(&self, application_group: &[u8]) -> String {
        let Failed { attempts, cause, .. } = self;
        let name = String::from_utf8_lossy(application_group);
        format!(
            "a request gets 500: the interpreter of application group '{name}' could not be made (see attempt {attempts} \
             above: {cause})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_to_make_an_interpreter_have_growing_pauses() {
        let pauses: Vec<_> = (1..=8).map(|attempts| pause_after(attempts).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        let now = Instant::now();
        let failed = |again| Failed { attempts: 1, cause: "X: y".to_owned(), again };
        assert!(failed(None).is_final(now));
        assert!(failed(Some(now + Duration::from_millis(1))).is_final(now));
        assert!(!failed(Some(now)).is_final(now));
        assert_eq!(
            failed(Some(now)).report(b"one", "Traceback\n"),
            "cannot make the interpreter of application group 'one' (attempt 1): X: y; its requests get 500, and the next \
             attempt is at least 1 s from now\nTraceback"
        );
    }
}
