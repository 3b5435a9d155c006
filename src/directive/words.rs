//! The arguments of a raw directive, split as httpd splits them (`ap_getword_conf`).

/// The words of a line. A word may stand in single or double quotes; inside them a backslash takes the quote
/// literally. Two backslashes are one everywhere. A quote inside a word is an ordinary byte.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    /// The words of `args`, what follows the directive's name.
    pub fn new(args: &'a [u8]) -> Self {
        Words { rest: args.trim_ascii() }
    }
}

impl Iterator for Words<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let quote = *self.rest.first()?;
        let (word, used) = if matches!(quote, b'"' | b'\'') {
            let (word, used) = quoted(&self.rest[1..], quote);
            (word, used + 1)
        } else {
            plain(self.rest)
        };
        self.rest = self.rest[used..].trim_ascii_start();
        Some(word)
    }
}

/// A word up to white space, and its length.
fn plain(text: &[u8]) -> (Vec<u8>, usize) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (unescaped(&text[..end], None), end)
}

/// A word up to the closing quote, and the length with that quote. As in httpd, a missing one ends with the line.
fn quoted(text: &[u8], quote: u8) -> (Vec<u8>, usize) {
    let mut end = 0;
    while end < text.len() && text[end] != quote {
        let escape = text[end] == b'\\' && matches!(text.get(end + 1), Some(&next) if next == quote || next == b'\\');
        end += if escape { 2 } else { 1 };
    }
    (unescaped(&text[..end], Some(quote)), (end + 1).min(text.len()))
}

/// `text` without the backslashes that stand before another one or before `quote`.
fn unescaped(text: &[u8], quote: Option<u8>) -> Vec<u8> {
    let mut word = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = bytes.next_if(|next| byte == b'\\' && (*next == b'\\' || Some(*next) == quote));
        word.push(escaped.unwrap_or(byte));
    }
    word
}

/// Splits `name=value`; the value may be quoted as a whole, which [`Words`] does not see when the quote stands after `=`.
pub(super) struct OptionWords<'a> {
    rest: &'a [u8],
}

/// An argument in the place of an option.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// `name=value`.
    Option(Vec<u8>, Vec<u8>),
    /// Anything else.
    Other(Vec<u8>),
}

impl<'a> OptionWords<'a> {
    /// The options that follow the words already taken.
    pub fn after(words: Words<'a>) -> Self {
        OptionWords { rest: words.rest }
    }
}

impl Iterator for OptionWords<'_> {
    type Item = Argument;

    fn next(&mut self) -> Option<Argument> {
        if self.rest.is_empty() {
            return None;
        }
        let name_end = self.rest.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(self.rest.len());
        if name_end == 0 || self.rest.get(name_end) != Some(&b'=') {
            let mut words = Words { rest: self.rest };
            let word = words.next()?;
            self.rest = words.rest;
            return Some(whole_word(word));
        }
        let name = self.rest[..name_end].to_vec();
        let after = &self.rest[name_end + 1..];
        // `name=` before white space is an empty value, not the next word.
        if after.first().is_none_or(u8::is_ascii_whitespace) {
            self.rest = after.trim_ascii_start();
            return Some(Argument::Option(name, Vec::new()));
        }
        let mut words = Words { rest: after };
        let value = words.next()?;
        self.rest = words.rest;
        Some(Argument::Option(name, value))
    }
}

/// A word that was quoted as a whole may still be an option: `"python-path=/a b"`.
fn whole_word(word: Vec<u8>) -> Argument {
    match word.iter().position(|byte| !is_name_byte(*byte)) {
        Some(at) if at > 0 && word[at] == b'=' => Argument::Option(word[..at].to_vec(), word[at + 1..].to_vec()),
        _ => Argument::Other(word),
    }
}

/// Bytes of option names.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(args: &str) -> Vec<String> {
        Words::new(args.as_bytes()).map(|word| String::from_utf8(word).expect("a test's text")).collect()
    }

    fn options(args: &str) -> Vec<String> {
        let show = |argument| match argument {
            Argument::Option(name, value) => {
                format!("{}={}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&value))
            }
            Argument::Other(word) => format!("?{}", String::from_utf8_lossy(&word)),
        };
        OptionWords::after(Words::new(args.as_bytes())).map(show).collect()
    }

    #[test]
    fn words_split_as_httpd_splits_them() {
        assert_eq!(words("  / /srv/app.wsgi \t x "), ["/", "/srv/app.wsgi", "x"]);
        assert_eq!(words(r#""a b" 'c "d"' e"f"#), ["a b", "c \"d\"", "e\"f"]);
        assert_eq!(words(r#""a\"b\\c\d""#), [r#"a"b\c\d"#]);
        assert_eq!(words(r"a\ b\\\"), [r"a\", r"b\\"]);
        assert_eq!(words("\"unclosed text"), ["unclosed text"]);
        assert_eq!(words("\"\" x"), ["", "x"]);
        assert!(words("   ").is_empty());
    }

    #[test]
    fn options_take_quotes_after_the_equals_sign_or_around_all() {
        assert_eq!(options(r#"a=1 b="x y" c='"' "d=e f" g= h"#), ["a=1", "b=x y", "c=\"", "d=e f", "g=", "?h"]);
        assert_eq!(options("env=A=b=c a =1 =2"), ["env=A=b=c", "?a", "?=1", "?=2"]);
    }

    proptest! {
        #[test]
        fn a_quoted_text_comes_back_as_it_was(text in "[ -~]{0,20}") {
            let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
            prop_assert_eq!(words(&format!("\"{escaped}\" x")), [text.as_str(), "x"]);
            prop_assert_eq!(options(&format!("name=\"{escaped}\" x")), [format!("name={text}"), "?x".into()]);
        }
    }
}
