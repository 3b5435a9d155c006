//! The numbers of log lines: every warning and every error begins with one, as `WSGI0135: `. Where the condition is
//! one of mod_wsgi's, the number is mod_wsgi's; ours begin at 1001. The table is in `messages/table.rs`;
//! `docs/errors.md` is made from it.
//!
//! Module, engine and supervisor log such lines only through functions that take a [`Message`], which sets the level
//! and writes the number.

#[cfg(test)]
mod markdown;
mod table;

pub use table::Message;

/// How much a line with a number matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// We cannot serve.
    Crit,
    /// A request or a process was lost.
    Error,
    /// Configuration or application misbehaves.
    Warn,
}

impl Severity {
    /// APLOG level.
    pub const fn level(self) -> u8 {
        match self {
            Severity::Crit => 2,
            Severity::Error => 3,
            Severity::Warn => 4,
        }
    }

    /// httpd's name of the level.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Crit => "crit",
            Severity::Error => "error",
            Severity::Warn => "warn",
        }
    }
}

/// What the table says of a message.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The message.
    pub message: Message,
    /// How much it matters.
    pub severity: Severity,
    /// The line in general form; `{}` encloses what differs from case to case.
    pub line: &'static str,
    /// What it means.
    pub means: &'static str,
    /// What an administrator does about it.
    pub cure: &'static str,
}

impl Message {
    /// Its number.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The message with the number of `tag`, which is `WSGI` and four digits.
    pub fn of_tag(tag: &str) -> Option<Message> {
        let number = tag.strip_prefix("WSGI").filter(|digits| digits.len() == 4)?.parse().ok()?;
        Message::ROWS.iter().map(|row| row.message).find(|message| message.number() == number)
    }

    /// The message of a line that begins with a number.
    pub fn of_line(line: &str) -> Option<Message> {
        line.split_once(": ").and_then(|(tag, _)| Message::of_tag(tag))
    }

    /// APLOG level of its lines.
    pub fn level(self) -> u8 {
        self.severity().level()
    }

    /// A line with the number at its beginning.
    pub fn line(self, text: impl std::fmt::Display) -> String {
        format!("WSGI{:04}: {text}", self.number())
    }
}

/// Declares [`Message`] and its rows.
macro_rules! messages {
    ($($name:ident = $number:literal, $severity:ident, $line:literal, $means:literal, $cure:literal;)*) => {
        /// What is wrong, by its number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Message {
            $(#[doc = $means] $name = $number,)*
        }

        impl Message {
            /// The table, by number.
            pub const ROWS: &'static [crate::messages::Row] = &[
                $(crate::messages::Row {
                    message: Message::$name,
                    severity: crate::messages::Severity::$severity,
                    line: $line,
                    means: $means,
                    cure: $cure,
                },)*
            ];

            /// How much it matters.
            pub const fn severity(self) -> crate::messages::Severity {
                match self {
                    $(Message::$name => crate::messages::Severity::$severity,)*
                }
            }
        }
    };
}
pub(crate) use messages;

/// How a script failed to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFailure {
    /// It could not be read or compiled.
    Source,
    /// It raised SystemExit.
    Exit,
    /// It raised another exception.
    Raised,
}

impl LoadFailure {
    /// The message; `asked`: a request has asked for the script.
    pub const fn message(self, asked: bool) -> Message {
        match (self, asked) {
            (LoadFailure::Source, true) => Message::ScriptSource,
            (LoadFailure::Source, false) => Message::ScriptSourceAtStart,
            (LoadFailure::Exit, true) => Message::ScriptExit,
            (LoadFailure::Exit, false) => Message::ScriptExitAtStart,
            (LoadFailure::Raised, true) => Message::ScriptRaised,
            (LoadFailure::Raised, false) => Message::ScriptRaisedAtStart,
        }
    }

    /// The line's text about the script at `path`; `place` is the interpreter. [`script_not_loaded`] reads it.
    pub fn text(self, path: &str, place: &str) -> String {
        match self {
            LoadFailure::Source => format!("{NOT_READ}{path}' for {place}."),
            LoadFailure::Exit => format!("{EXITED}{path}'."),
            LoadFailure::Raised => format!("{RAISED}{path}'."),
        }
    }
}

const NOT_READ: &str = "Could not read or compile WSGI script '";
const EXITED: &str = "SystemExit exception raised when doing exec of Python script file '";
const RAISED: &str = "Unable to execute Python script file '";

/// The script that a line of [`LoadFailure::text`] is about.
pub fn script_not_loaded(line: &str) -> Option<&str> {
    let text = &line[line.find(": ")? + 2..];
    match Message::of_line(line)? {
        Message::ScriptSource | Message::ScriptSourceAtStart => {
            Some(text.strip_prefix(NOT_READ)?.rsplit_once("' for ")?.0)
        }
        Message::ScriptExit | Message::ScriptExitAtStart => text.strip_prefix(EXITED)?.strip_suffix("'."),
        Message::ScriptRaised | Message::ScriptRaisedAtStart => text.strip_prefix(RAISED)?.strip_suffix("'."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_four_digits() {
        assert_eq!(Message::ScriptMissing.line("x"), "WSGI0135: x");
        assert_eq!(Message::Internal.line("x"), "WSGI1001: x");
        assert_eq!(Message::of_line("WSGI0135: a: b"), Some(Message::ScriptMissing));
        for line in ["WSGI135: x", "WSGI9999: x", "ValueError: x", "WSGI0135"] {
            assert_eq!(Message::of_line(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_about_a_script_that_was_not_loaded_names_it() {
        for failure in [LoadFailure::Source, LoadFailure::Exit, LoadFailure::Raised] {
            for asked in [true, false] {
                let line = failure.message(asked).line(failure.text("/srv/it's for a.wsgi", "main interpreter"));
                assert_eq!(script_not_loaded(&line), Some("/srv/it's for a.wsgi"), "{line}");
            }
        }
        assert_eq!(script_not_loaded("WSGI0174: Unable to execute Python script file '/a'."), None);
        assert_eq!(script_not_loaded("ValueError: x"), None);
    }
}
