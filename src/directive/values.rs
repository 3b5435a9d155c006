//! Single values: switches, numbers, lists. Each error says what was given and what is allowed.

use super::{DirectiveError, Text};

/// `WSGIMapHEADToGET`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadMapping {
    /// GET if an output filter wants to see the body.
    #[default]
    Auto,
    /// Always GET.
    On,
    /// HEAD stays HEAD.
    Off,
}

/// `WSGIPythonHashSeed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashSeed {
    /// Python chooses.
    Random,
    /// This one.
    Fixed(u32),
}

impl std::fmt::Display for HashSeed {
    /// As the variable `PYTHONHASHSEED` has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HashSeed::Random => f.write_str("random"),
            HashSeed::Fixed(seed) => seed.fmt(f),
        }
    }
}

/// Bytes for a message: what is not printable is escaped.
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().flat_map(printable).collect()
}

/// The character itself, unless it would disturb a log.
fn printable(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

/// The error for a value of `what`, a directive or an option.
pub(super) fn bad(what: &str, given: &[u8], allowed: impl Into<String>) -> DirectiveError {
    DirectiveError::Value { what: what.to_owned(), given: shown(given), allowed: allowed.into() }
}

/// `On` or `Off`.
pub(super) fn switch(what: &str, given: &[u8]) -> Result<bool, DirectiveError> {
    on_or_off(given).ok_or_else(|| bad(what, given, "must be On or Off"))
}

/// `On`, `Off` or `Auto`.
pub(super) fn switch_or_auto(what: &str, given: &[u8]) -> Result<HeadMapping, DirectiveError> {
    match on_or_off(given) {
        Some(true) => Ok(HeadMapping::On),
        Some(false) => Ok(HeadMapping::Off),
        None if given.eq_ignore_ascii_case(b"Auto") => Ok(HeadMapping::Auto),
        None => Err(bad(what, given, "must be On, Off or Auto")),
    }
}

/// The two words that httpd uses everywhere, in any case.
fn on_or_off(given: &[u8]) -> Option<bool> {
    if given.eq_ignore_ascii_case(b"On") {
        Some(true)
    } else if given.eq_ignore_ascii_case(b"Off") {
        Some(false)
    } else {
        None
    }
}

/// A decimal number as the original would read it, but nothing else after it.
fn decimal<T: std::str::FromStr>(given: &[u8]) -> Option<T> {
    std::str::from_utf8(given).ok()?.parse().ok()
}

/// A whole number from `low` to `high`; `unit` follows in the message, such as ` of seconds`.
pub(super) fn integer(what: &str, given: &[u8], low: i64, high: i64, unit: &str) -> Result<i64, DirectiveError> {
    let value = decimal(given).filter(|value| (low..=high).contains(value));
    value.ok_or_else(|| {
        let range = match high {
            i64::MAX => format!("of at least {low}"),
            _ => format!("from {low} to {high}"),
        };
        bad(what, given, format!("must be a whole number{unit} {range}"))
    })
}

/// Zero, or a whole number from `low` to `high`.
pub(super) fn zero_or(what: &str, given: &[u8], low: i64, high: i64) -> Result<i64, DirectiveError> {
    let value = decimal(given).filter(|value| *value == 0 || (low..=high).contains(value));
    value.ok_or_else(|| bad(what, given, format!("must be 0 or a whole number from {low} to {high}")))
}

/// Bytes from 0: a whole number, with K, M or G behind it for multiples of 1024.
pub(super) fn bytes(what: &str, given: &[u8]) -> Result<i64, DirectiveError> {
    let (digits, shift) = match given.split_last() {
        Some((b'K' | b'k', digits)) => (digits, 10),
        Some((b'M' | b'm', digits)) => (digits, 20),
        Some((b'G' | b'g', digits)) => (digits, 30),
        _ => (given, 0),
    };
    let value = decimal(digits).filter(|value| *value >= 0).and_then(|value: i64| value.checked_mul(1i64 << shift));
    value.ok_or_else(|| bad(what, given, "must be a number of bytes from 0, such as 536870912, 512M or 2G"))
}

/// One of the words of `allowed`.
pub(super) fn choice(what: &str, given: &[u8], allowed: &[&str]) -> Result<Text, DirectiveError> {
    match allowed.iter().find(|word| word.as_bytes().eq_ignore_ascii_case(given)) {
        Some(word) => Ok(Text::from(word.as_bytes())),
        None => Err(bad(what, given, format!("must be {}", allowed.join(" or ")))),
    }
}

/// A finite number of seconds, at least or above zero.
pub(super) fn seconds(what: &str, given: &[u8], zero: bool) -> Result<f64, DirectiveError> {
    let value = number(given).filter(|value| *value > 0.0 || (zero && *value == 0.0));
    let allowed =
        if zero { "must be a number of seconds from 0" } else { "must be a number of seconds greater than 0" };
    value.ok_or_else(|| bad(what, given, allowed))
}

/// A number with or without a fraction; `inf` and `nan`, which Rust would take, are none.
pub(super) fn number(given: &[u8]) -> Option<f64> {
    let written_as_number = given.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E'));
    decimal(given).filter(|value: &f64| written_as_number && value.is_finite())
}

/// A file mode mask in octal.
pub(super) fn octal(what: &str, given: &[u8]) -> Result<i64, DirectiveError> {
    let digits = std::str::from_utf8(given).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let value = digits.and_then(|text| i64::from_str_radix(text, 8).ok()).filter(|mask| *mask <= 0o777);
    value.ok_or_else(|| bad(what, given, "must be an octal number from 0 to 0777"))
}

/// A text that is not empty.
pub(super) fn word(what: &str, given: &[u8]) -> Result<Text, DirectiveError> {
    if given.is_empty() { Err(bad(what, given, "must not be empty")) } else { Ok(Text::from(given)) }
}

/// A path from the root of the file system.
pub(super) fn absolute_path(what: &str, given: &[u8]) -> Result<Text, DirectiveError> {
    if given.starts_with(b"/") {
        Ok(Text::from(given))
    } else {
        Err(bad(what, given, "must be an absolute path, which begins with /"))
    }
}

/// The name of a group; `%{GLOBAL}` becomes empty.
pub(super) fn group(what: &str, given: &[u8]) -> Result<Text, DirectiveError> {
    if given == b"%{GLOBAL}" { Ok(Text::from(&b""[..])) } else { word(what, given) }
}

/// Directories with colons between them; empty ones are skipped.
pub(super) fn directories(given: &[u8]) -> Vec<Text> {
    given.split(|byte| *byte == b':').filter(|part| !part.is_empty()).map(Text::from).collect()
}

/// As [`directories`], and at least one.
pub(super) fn search_path(what: &str, given: &[u8]) -> Result<Vec<Text>, DirectiveError> {
    let parts = directories(given);
    if parts.is_empty() {
        Err(bad(what, given, "must name a directory, or several with : between them"))
    } else {
        Ok(parts)
    }
}

/// A user or group: a name, or `#` with a number.
pub(super) fn account(what: &str, given: &[u8], kind: &str) -> Result<Text, DirectiveError> {
    let fits = match given.strip_prefix(b"#") {
        Some(number) => decimal::<u32>(number).is_some() && number[0] != b'+',
        None => !given.is_empty(),
    };
    if fits {
        Ok(Text::from(given))
    } else {
        Err(bad(what, given, format!("must be the name of a {kind}, or # and its number")))
    }
}

/// Accounts with commas between them.
pub(super) fn accounts(what: &str, given: &[u8], kind: &str) -> Result<Vec<Text>, DirectiveError> {
    given.split(|byte| *byte == b',').map(|name| account(what, name.trim_ascii(), kind)).collect()
}

/// `random`, or a seed of 32 bits.
pub(super) fn seed(what: &str, given: &[u8]) -> Result<HashSeed, DirectiveError> {
    if given.eq_ignore_ascii_case(b"random") {
        return Ok(HashSeed::Random);
    }
    let value = decimal(given).map(HashSeed::Fixed);
    value.ok_or_else(|| bad(what, given, "must be random or a whole number from 0 to 4294967295"))
}

/// A request header's name in the form of its variable: `X-Real-IP` becomes `HTTP_X_REAL_IP`.
pub(super) fn header(what: &str, given: &[u8]) -> Result<Text, DirectiveError> {
    if given.is_empty() || !given.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
        return Err(bad(what, given, "must be the name of a request header: letters, digits and -"));
    }
    let upper = given.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
    Ok(b"HTTP_".iter().copied().chain(upper).collect())
}

/// `NAME=value` of an environment variable.
pub(super) fn variable(what: &str, given: &[u8]) -> Result<(Text, Text), DirectiveError> {
    match given.iter().position(|byte| *byte == b'=') {
        Some(at) if at > 0 => Ok((Text::from(&given[..at]), Text::from(&given[at + 1..]))),
        _ => Err(bad(what, given, "must be NAME=value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_take_any_case_and_nothing_else() {
        assert_eq!(switch("X", b"oN"), Ok(true));
        assert_eq!(switch("X", b"OFF"), Ok(false));
        let error = switch("WSGIScriptReloading", b"maybe").unwrap_err();
        assert_eq!(error.to_string(), "WSGIScriptReloading \"maybe\": must be On or Off");
        assert_eq!(switch_or_auto("X", b"auto"), Ok(HeadMapping::Auto));
        assert!(switch_or_auto("X", b"1").is_err());
    }

    #[test]
    fn bytes_take_a_unit() {
        assert_eq!(bytes("X", b"9000000000"), Ok(9_000_000_000));
        assert_eq!(bytes("X", b"512M"), Ok(512 << 20));
        assert_eq!((bytes("X", b"2g"), bytes("X", b"1K"), bytes("X", b"0")), (Ok(2 << 30), Ok(1024), Ok(0)));
        for given in ["", "M", "-1", "1T", "1.5G", "9223372036854775807K"] {
            let error = bytes("X", given.as_bytes()).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("X \"{given}\": must be a number of bytes from 0, such as 536870912, 512M or 2G")
            );
        }
    }

    #[test]
    fn numbers_name_their_range() {
        assert_eq!(integer("threads", b"15", 0, 65533, ""), Ok(15));
        for given in ["", "x", "5x", "-1", "65534", "1.5", "99999999999999999999"] {
            let error = integer("threads", given.as_bytes(), 0, 65533, "").unwrap_err().to_string();
            assert_eq!(error, format!("threads \"{given}\": must be a whole number from 0 to 65533"));
        }
        assert_eq!(zero_or("x", b"0", 512, 1000), Ok(0));
        assert!(zero_or("x", b"511", 512, 1000).is_err());
        assert_eq!(octal("umask", b"0027"), Ok(0o27));
        assert!(octal("umask", b"0028").is_err() && octal("umask", b"1000").is_err() && octal("umask", b"").is_err());
        assert_eq!(seed("s", b"4294967295"), Ok(HashSeed::Fixed(u32::MAX)));
        assert!(seed("s", b"4294967296").is_err());
        let texts = [HashSeed::Random, HashSeed::Fixed(7)].map(|seed| seed.to_string());
        assert_eq!(texts, ["random", "7"]);
    }

    #[test]
    fn seconds_are_finite() {
        assert_eq!(seconds("s", b"0.005", false), Ok(0.005));
        assert_eq!(seconds("s", b"0", true), Ok(0.0));
        for given in ["0", "-1", "inf", "nan", "", "1s", "infinity", "1e999"] {
            assert!(seconds("s", given.as_bytes(), false).is_err(), "{given}");
        }
    }

    #[test]
    fn texts_are_checked_for_their_form() {
        assert_eq!(&*group("g", b"%{GLOBAL}").unwrap(), b"");
        assert!(group("g", b"").is_err());
        assert!(absolute_path("home", b"srv").is_err());
        assert_eq!(search_path("p", b"/a:/b::").unwrap().len(), 2);
        assert!(account("user", b"#12x", "user").is_err() && account("user", b"#", "user").is_err());
        assert!(account("user", b"#1000", "user").is_ok() && account("user", b"web", "user").is_ok());
        assert_eq!(&*header("h", b"X-Real-ip").unwrap(), b"HTTP_X_REAL_IP");
        assert!(header("h", b"X_Real").is_err());
        assert_eq!(variable("env", b"A=b=c").unwrap(), (Text::from(&b"A"[..]), Text::from(&b"b=c"[..])));
        assert!(variable("env", b"A").is_err() && variable("env", b"=x").is_err());
    }

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(shown(b"a\nb\x1b\xc3\xa9"), "a\\nb\\u{1b}\u{e9}");
    }
}
