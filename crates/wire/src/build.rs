//! What the module, the supervisor and the engine were built from. The three are files of their own, and fit each
//! other when they were built from one source.

/// How the text begins in a file that holds it.
pub const MARK: &str = "mod_wsgi-build: ";

/// What ends it there.
pub const END: char = ';';

macro_rules! text {
    () => {
        concat!(env!("CARGO_PKG_VERSION"), " (protocol ", crate::protocol!(), ", build ", env!("WSGI_BUILD"), ")")
    };
}

/// The build in words, such as `0.1.0 (protocol 9, build 4f2a81c09d3e6b57)`.
pub const TEXT: &str = text!();

/// What stands in the file.
const IN_FILE: &str = concat!("mod_wsgi-build: ", text!(), ";");

/// [`TEXT`]. Whoever calls this has it in its file in the form that [`MARK`] and [`END`] describe, so that others can
/// read it there without running the file.
#[inline(never)]
pub fn text() -> &'static str {
    let text = std::hint::black_box(IN_FILE);
    &text[MARK.len()..text.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_in_the_file_is_the_text() {
        assert_eq!(text(), TEXT);
        assert!(IN_FILE.starts_with(MARK) && IN_FILE.ends_with(END) && !TEXT.contains(END));
        assert!(TEXT.contains(&format!("protocol {},", crate::PROTOCOL)), "{TEXT}");
    }
}
