//! The file of `env-file=`: lines `NAME=value`, as shells, systemd and docker know them.

use super::Text;

/// A line that is none, counted from 1. It does not say what stands there: that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

/// Reads the variables, in order. Empty lines and those that begin with `#` are left out; `export ` may stand before a
/// name. A value in single quotes is taken as it is; in double quotes a backslash protects `"`, `\`, `$`, a backquote and
/// stands for a newline before `n`; a value without quotes ends with the line, without the blanks around it. Nothing is
/// substituted.
///
/// # Errors
/// The first line that is wrong.
pub fn parse(text: &[u8]) -> Result<Vec<(Text, Text)>, BadLine> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut found = Vec::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        found.push(variable(line).map_err(|problem| BadLine { line: at + 1, problem })?);
    }
    Ok(found)
}

fn variable(line: &[u8]) -> Result<(Text, Text), &'static str> {
    let line = match line.strip_prefix(b"export") {
        Some(rest) if rest.first().is_some_and(u8::is_ascii_whitespace) => rest.trim_ascii_start(),
        _ => line,
    };
    let equals = line.iter().position(|byte| *byte == b'=').ok_or("must be NAME=value")?;
    let (name, given) = (&line[..equals], line[equals + 1..].trim_ascii_start());
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if name.is_empty() || name[0].is_ascii_digit() || !name.iter().all(is_name) {
        return Err(
            "the name before the equals sign must be letters, digits and underscores, and stand right before it",
        );
    }
    if given.contains(&0) {
        return Err("must not hold a NUL byte");
    }
    let value = match given.first() {
        Some(b'\'') => single_quoted(&given[1..])?.to_vec(),
        Some(b'"') => double_quoted(&given[1..])?,
        _ => given.to_vec(),
    };
    Ok((Text::from(name), Text::from(value)))
}

const UNTERMINATED: &str = "the quote is not closed on the same line";
const TRAILING: &str = "nothing may follow the closing quote";

fn single_quoted(rest: &[u8]) -> Result<&[u8], &'static str> {
    let end = rest.iter().position(|byte| *byte == b'\'').ok_or(UNTERMINATED)?;
    if end + 1 == rest.len() { Ok(&rest[..end]) } else { Err(TRAILING) }
}

fn double_quoted(rest: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut value = Vec::new();
    let mut bytes = rest.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if bytes.next().is_none() => return Ok(value),
            b'"' => return Err(TRAILING),
            b'\\' => match bytes.next().ok_or(UNTERMINATED)? {
                b'n' => value.push(b'\n'),
                escaped @ (b'"' | b'\\' | b'$' | b'`') => value.push(escaped),
                other => value.extend([b'\\', other]),
            },
            other => value.push(other),
        }
    }
    Err(UNTERMINATED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &str) -> Vec<String> {
        match parse(text.as_bytes()) {
            Ok(all) => all.iter().map(|(name, value)| format!("{}={}", text_of(name), text_of(value))).collect(),
            Err(BadLine { line, problem }) => vec![format!("{line}: {problem}")],
        }
    }

    fn text_of(text: &Text) -> String {
        String::from_utf8_lossy(text).into_owned()
    }

    #[test]
    fn variables_are_read() {
        let text =
            "\u{feff}# secrets\n\nONE=1\r\n  export TWO = 2\nexport\tTHREE=a b # c \nEMPTY=\n_X1=a=b\nexported=x";
        assert_eq!(lines("export TWO = 2")[0].split(':').next(), Some("1"));
        let text = text.replace("TWO = 2", "TWO= 2");
        assert_eq!(lines(&text), ["ONE=1", "TWO=2", "THREE=a b # c", "EMPTY=", "_X1=a=b", "exported=x"]);
    }

    #[test]
    fn quotes_are_removed() {
        let text = "A='it is # \\n $HOME'\nB=\"x \\\"y\\\" \\\\ \\$HOME \\n \\t\"\nC=''\nD=\"\"\nE=it's";
        assert_eq!(lines(text), ["A=it is # \\n $HOME", "B=x \"y\" \\ $HOME \n \\t", "C=", "D=", "E=it's"]);
    }

    #[test]
    fn mistakes_name_the_line_and_not_the_value() {
        let cases = [
            ("A=1\n\nsecret", "3: must be NAME=value"),
            ("=x", "1: the name before the equals sign"),
            ("A B=secret", "1: the name before the equals sign"),
            ("1A=secret", "1: the name before the equals sign"),
            ("A='secret", "1: the quote is not closed"),
            ("A=\"secret\\\"", "1: the quote is not closed"),
            ("A=\"secret\" x", "1: nothing may follow"),
            ("A='secret'x", "1: nothing may follow"),
            ("A=se\0cret", "1: must not hold a NUL"),
        ];
        for (text, expected) in cases {
            let lines = lines(text);
            assert!(lines[0].starts_with(expected) && !lines[0].contains("secret"), "{text:?}: {lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text: Vec<u8>) {
            for (name, value) in parse(&text).unwrap_or_default() {
                prop_assert!(!name.is_empty() && !name.contains(&b'=') && !value.contains(&0));
            }
        }

        #[test]
        fn single_quotes_keep_everything(value in "[^'\n\0]{0,40}") {
            let found = parse(format!("N='{value}'").as_bytes()).unwrap();
            prop_assert_eq!(text_of(&found[0].1), value);
        }
    }
}
