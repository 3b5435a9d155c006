//! What `start_response` accepts as status and headers. An error's text is that of the exception.
//!
//! The rules are mod_wsgi's and RFC 9110's: no header may be taken for two, or for another one.
#![forbid(unsafe_code)]

use core::fmt::Write;

use wsgi_wire::response::is_token;

/// Why a status or a header is refused; the text of the `ValueError`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl Refused {
    fn of(problem: &str, bytes: &[u8]) -> Refused {
        Refused(format!("{problem}: {}", shown(bytes)))
    }
}

/// `bytes` as Python's `repr` shows them.
pub fn shown(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut out = format!("b{quote}");
    for byte in bytes {
        let _ = match byte {
            b'\\' => out.write_str("\\\\"),
            b'\t' => out.write_str("\\t"),
            b'\n' => out.write_str("\\n"),
            b'\r' => out.write_str("\\r"),
            b'\'' if quote == '\'' => out.write_str("\\'"),
            b' '..=b'~' => out.write_char(char::from(*byte)),
            _ => write!(out, "\\x{byte:02x}"),
        };
    }
    out.push(quote);
    out
}

/// Status code and reason of a status line: three digits, and a space before anything else.
///
/// # Errors
/// When the line is no status of a final response, or its reason could end the line.
pub fn split_status(line: &[u8]) -> Result<(u16, &[u8]), Refused> {
    let refuse = |problem: &str| Err(Refused::of(problem, line));
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits != 3 {
        return refuse("status code must be a 3 digit integer");
    }
    let code = line[..3].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let reason = match line.get(3) {
        None => &[][..],
        Some(b' ') => &line[4..],
        Some(_) => return refuse("no space following status code"),
    };
    if reason.iter().any(u8::is_ascii_control) {
        return refuse("control character in status reason phrase");
    }
    if code < 200 {
        return refuse("status code is not one of a final response");
    }
    if reason.len() > usize::from(u16::MAX) {
        return Err(Refused("status reason phrase is longer than 65535 bytes".to_owned()));
    }
    Ok((code, reason))
}

/// Checks a header's name.
///
/// # Errors
/// When it is no token (RFC 9110, 5.6.2).
pub fn check_name(name: &[u8]) -> Result<(), Refused> {
    let problem = if name.is_empty() {
        return Err(Refused("header name is empty".to_owned()));
    } else if name.len() > usize::from(u16::MAX) {
        return Err(Refused("header name is longer than 65535 bytes".to_owned()));
    } else if name.iter().any(u8::is_ascii_control) {
        "control character in header name"
    } else if name.contains(&b' ') {
        "space character in header name"
    } else if !name.iter().all(|byte| is_token(*byte)) {
        "character that is not allowed in header name"
    } else {
        return Ok(());
    };
    Err(Refused::of(problem, name))
}

/// Checks a header's value.
///
/// # Errors
/// When it could end its line.
pub fn check_value(value: &[u8]) -> Result<(), Refused> {
    match value.iter().find(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        None => Ok(()),
        Some(0) => Err(Refused::of("null character in header value", value)),
        Some(_) => Err(Refused::of("carriage return/line feed character in header value", value)),
    }
}

/// What the values of Content-Length, in order, say of the body's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Length {
    /// There is none.
    Unknown,
    /// In bytes.
    Declared(u64),
    /// The value that is no number, or another one than the one before.
    Invalid(String),
}

impl Length {
    /// With one more value.
    pub fn and(&self, value: &[u8]) -> Length {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = core::str::from_utf8(value).ok().filter(|_| is_number).and_then(|text| text.parse().ok());
        match (number, self) {
            (Some(number), Length::Unknown) => Length::Declared(number),
            (Some(number), Length::Declared(before)) if *before == number => Length::Declared(number),
            _ => Length::Invalid(value.iter().map(|byte| char::from(*byte)).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use wsgi_wire::response::{Head, HeadEncoder};

    fn text<T>(result: Result<T, Refused>) -> String {
        result.err().map(|refused| refused.0).unwrap_or_default()
    }

    #[test]
    fn a_status_is_three_digits_and_a_reason() {
        assert_eq!(split_status(b"200 OK"), Ok((200, &b"OK"[..])));
        assert_eq!(split_status(b"418"), Ok((418, &b""[..])));
        assert_eq!(split_status(b"999 \xe9 x"), Ok((999, &b"\xe9 x"[..])));
        let cases: [(&[u8], &str); 9] = [
            (b"", "status code must be a 3 digit integer: b''"),
            (b" 200", "status code must be a 3 digit integer: b' 200'"),
            (b"20 OK", "status code must be a 3 digit integer: b'20 OK'"),
            (b"2000 OK", "status code must be a 3 digit integer: b'2000 OK'"),
            (b"200OK", "no space following status code: b'200OK'"),
            (b"200\tOK", "no space following status code: b'200\\tOK'"),
            (b"200 O\nK", "control character in status reason phrase: b'200 O\\nK'"),
            (b"200 \x7f", "control character in status reason phrase: b'200 \\x7f'"),
            (b"100 Continue", "status code is not one of a final response: b'100 Continue'"),
        ];
        for (line, expected) in cases {
            assert_eq!(text(split_status(line)), expected);
        }
        let long = [&b"200 "[..], &b"x".repeat(65_536)].concat();
        assert_eq!(text(split_status(&long)), "status reason phrase is longer than 65535 bytes");
    }

    #[test]
    fn names_are_tokens_and_values_one_line() {
        let cases: [(&[u8], &str); 5] = [
            (b"", "header name is empty"),
            (b"a\nb", "control character in header name: b'a\\nb'"),
            (b"a b", "space character in header name: b'a b'"),
            (b"a:b", "character that is not allowed in header name: b'a:b'"),
            (b"a\xe9", "character that is not allowed in header name: b'a\\xe9'"),
        ];
        for (name, expected) in cases {
            assert_eq!(text(check_name(name)), expected);
        }
        assert_eq!(text(check_name(&b"x".repeat(65_536))), "header name is longer than 65535 bytes");
        let line_end = "carriage return/line feed character in header value";
        assert_eq!(text(check_value(b"a\rb")), format!("{line_end}: b'a\\rb'"));
        assert_eq!(text(check_value(b"it's\n")), format!("{line_end}: b\"it's\\n\""));
        assert_eq!(text(check_value(b"a\0")), "null character in header value: b'a\\x00'");
        assert_eq!(check_value(b"\x01 tab\t \xff"), Ok(()));
    }

    #[test]
    fn bytes_are_shown_as_python_shows_them() {
        let cases: [(&[u8], &str); 4] =
            [(b"a\\b\x00\xff", r"b'a\\b\x00\xff'"), (b"it's", "b\"it's\""), (b"'\"", "b'\\'\"'"), (b"\"", "b'\"'")];
        for (bytes, expected) in cases {
            assert_eq!(shown(bytes), expected);
        }
    }

    #[test]
    fn a_length_is_said_once_and_in_digits() {
        let first = Length::Unknown.and(b"12");
        assert_eq!(first, Length::Declared(12));
        assert_eq!(first.and(b"012"), first);
        assert_eq!(first.and(b"13"), Length::Invalid("13".to_owned()));
        for value in [&b""[..], b"-1", b"+1", b" 1", b"1 ", b"x", b"1,1", b"99999999999999999999", b"\xe9"] {
            assert!(matches!(Length::Unknown.and(value), Length::Invalid(_)), "{value:?}");
        }
    }

    /// Bytes that are likely to be of interest.
    fn odd() -> impl Strategy<Value = Vec<u8>> {
        vec(
            prop_oneof![
                Just(b' '),
                Just(b'\r'),
                Just(b'\n'),
                Just(0),
                Just(b':'),
                b'0'..=b'9',
                any::<u8>(),
                b'a'..=b'z'
            ],
            0..12,
        )
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        (100u16..1100, odd()).prop_map(|(code, rest)| [code.to_string().as_bytes(), &rest].concat())
    }

    proptest! {
        #[test]
        fn what_is_accepted_splits_no_response(line in prop_oneof![line(), odd()], headers in vec((odd(), odd()), 0..4)) {
            let Ok((status, reason)) = split_status(&line) else { return Ok(()) };
            prop_assert!((200..1000).contains(&status));
            prop_assert!(line.starts_with(status.to_string().as_bytes()) && line.ends_with(reason));
            let mut payload = Vec::new();
            let mut encoder = HeadEncoder::new(&mut payload, status, reason);
            let accepted = |(name, value): &&(Vec<u8>, Vec<u8>)| check_name(name).is_ok() && check_value(value).is_ok();
            let headers: Vec<_> = headers.iter().filter(accepted).collect();
            headers.iter().for_each(|(name, value)| encoder.put(name, value));
            encoder.finish();
            let head = Head::decode(&payload).expect("what was accepted is safe");
            let mut sent = format!("HTTP/1.1 {status} ").into_bytes();
            sent.extend_from_slice(head.reason);
            for (name, value) in head.headers() {
                sent.extend([b"\r\n", name, b": ", value].concat());
            }
            prop_assert!(!sent.contains(&0));
            let lines: Vec<_> = sent.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(lines.len(), 1 + headers.len());
        }

        #[test]
        fn any_bytes_are_shown_in_one_printable_line(bytes in vec(any::<u8>(), 0..40)) {
            prop_assert!(shown(&bytes).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}
