//! Lines of an httpd.conf: directives with quoted arguments, and sections.

/// A configuration that is being written.
#[derive(Default)]
pub struct Conf {
    text: String,
    depth: usize,
}

impl Conf {
    /// A line as it is.
    pub fn line(&mut self, line: &str) {
        self.text.push_str(&"    ".repeat(self.depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A comment with an empty line before it.
    pub fn comment(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(&format!("# {text}"));
    }

    /// A directive; arguments are quoted where they need it.
    pub fn directive(&mut self, name: &str, arguments: &[&str]) {
        let words: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        self.line(&format!("{name} {}", words.join(" ")));
    }

    /// A section with an argument.
    pub fn section(&mut self, name: &str, argument: &str, body: impl FnOnce(&mut Conf)) {
        self.line(&format!("<{name} {}>", quoted(argument)));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line(&format!("</{name}>"));
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

/// An argument of a directive as httpd reads it back.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:%{}+=,*~^$@!|&?#[]".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) && !text.starts_with('#') {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_they_need_it() {
        for (text, line) in
            [("a/b", "a/b"), ("", "\"\""), ("a b", "\"a b\""), ("a\"\\b", "\"a\\\"\\\\b\""), ("#1", "\"#1\"")]
        {
            assert_eq!(quoted(text), line);
        }
    }
}
