//! What a daemon process tells of the scripts that it has loaded without the configuration asking for it, so that the
//! process that takes its place can load them before requests come to that one.

use crate::bytes::{DecodeError, Reader};

/// A script that is loaded in a daemon process: its tag, whether a request has asked for it, the application group behind
/// a length of two bytes, the path behind another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded<'a> {
    /// A request has asked for it; else it was handed on ([`crate::config::DaemonConfig::handed`]), and none has so
    /// far.
    pub asked: bool,
    /// Application group; empty is the main interpreter.
    pub application_group: &'a str,
    /// File.
    pub script: &'a str,
}

impl<'a> Loaded<'a> {
    /// The first byte of the message, among those of [`crate::control::FromDaemon`].
    pub const TAG: u8 = 6;
    /// Longest name of an application group, in bytes.
    pub const MAX_APPLICATION_GROUP: usize = 1 << 10;
    /// Longest path, in bytes (PATH_MAX of Linux).
    pub const MAX_SCRIPT: usize = 4 << 10;
    /// Longest message, in bytes.
    pub const MAX_SIZE: usize = 6 + Self::MAX_APPLICATION_GROUP + Self::MAX_SCRIPT;

    /// The message's bytes; nothing when a name is too long for it.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.application_group.len() > Self::MAX_APPLICATION_GROUP || self.script.len() > Self::MAX_SCRIPT {
            return None;
        }
        let mut out = vec![Self::TAG, u8::from(self.asked)];
        for text in [self.application_group, self.script] {
            out.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
            out.extend(text.as_bytes());
        }
        Some(out)
    }

    /// Reads the message.
    ///
    /// # Errors
    /// When it is none of these, a name is too long, no UTF-8 or holds a NUL byte, or the path is not absolute.
    pub fn decode(message: &'a [u8]) -> Result<Loaded<'a>, DecodeError> {
        let mut reader = Reader::new(message);
        match reader.u8()? {
            Self::TAG => {}
            other => return Err(DecodeError::UnknownTag(other)),
        }
        let asked = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::Invalid("asked")),
        };
        let (application_group, script) = (reader.short()?, reader.short()?);
        reader.finish()?;
        let application_group =
            text(application_group, Self::MAX_APPLICATION_GROUP).ok_or(DecodeError::Invalid("application group"))?;
        let script = text(script, Self::MAX_SCRIPT).filter(|path| path.starts_with('/'));
        Ok(Loaded { asked, application_group, script: script.ok_or(DecodeError::Invalid("script"))? })
    }
}

fn text(bytes: &[u8], most: usize) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= most && !text.contains('\0')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_round_trip(asked: bool, application_group in "[^\0]{0,80}", script in "/[^\0]{0,80}") {
            let loaded = Loaded { asked, application_group: &application_group, script: &script };
            let bytes = loaded.encode().expect("short");
            prop_assert_eq!(Loaded::decode(&bytes), Ok(loaded));
            for cut in 0..bytes.len() {
                prop_assert!(Loaded::decode(&bytes[..cut]).is_err());
            }
            prop_assert!(Loaded::decode(&[&bytes[..], b"x"].concat()).is_err());
        }

        #[test]
        fn what_is_read_is_within_limits(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), tagged: bool) {
            if let Some(first) = bytes.first_mut().filter(|_| tagged) {
                *first = Loaded::TAG;
            }
            if let Ok(loaded) = Loaded::decode(&bytes) {
                prop_assert_eq!(loaded.encode(), Some(bytes));
            }
        }
    }

    #[test]
    fn long_names_are_left_out() {
        let (application_group, script) =
            ("g".repeat(Loaded::MAX_APPLICATION_GROUP), format!("/{}", "s".repeat(Loaded::MAX_SCRIPT - 1)));
        let loaded = Loaded { asked: true, application_group: &application_group, script: &script };
        let mut bytes = loaded.encode().expect("fits");
        assert_eq!((bytes.len(), Loaded::decode(&bytes)), (Loaded::MAX_SIZE, Ok(loaded)));
        let (longer_application_group, longer_script) = (format!("{application_group}x"), format!("{script}x"));
        assert_eq!(Loaded { application_group: &longer_application_group, ..loaded }.encode(), None);
        assert_eq!(Loaded { script: &longer_script, ..loaded }.encode(), None);
        let at = 4 + application_group.len();
        bytes[at..at + 2].copy_from_slice(&u16::try_from(longer_script.len()).expect("short").to_be_bytes());
        bytes.push(b'x');
        assert_eq!(Loaded::decode(&bytes), Err(DecodeError::Invalid("script")));
    }

    #[test]
    fn names_that_no_file_has_are_errors() {
        for (application_group, script) in [("g", "relative"), ("g", ""), ("g\0", "/s"), ("g", "/s\0")] {
            let bytes = Loaded { asked: true, application_group, script }.encode().expect("short");
            assert!(Loaded::decode(&bytes).is_err(), "{application_group:?} {script:?}");
        }
        assert!(Loaded::decode(&[Loaded::TAG, 2, 0, 0, 0, 1, b'/']).is_err());
        assert!(Loaded::decode(&[Loaded::TAG, 1, 0, 1, 0xFF, 0, 1, b'/']).is_err());
        assert!(Loaded::decode(&[1, 0]).is_err());
    }
}
