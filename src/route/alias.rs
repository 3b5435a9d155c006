//! `WSGIScriptAlias` and `WSGIScriptAliasMatch`: from a URL path to a script's file name.

use std::sync::Arc;

use crate::directive::{Alias, AliasTarget};

/// How many groups of a regular expression httpd reports, the whole match included.
pub const MAX_CAPTURES: usize = 10;

/// Start and end of the whole match and of each group that took part, as offsets into the path.
pub type Captures = [Option<(usize, usize)>; MAX_CAPTURES];

/// The alias that a path matches, and the file that it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasMatch<'a> {
    /// The alias.
    pub alias: &'a Arc<Alias>,
    /// The file name; httpd's directory walk splits off what becomes `PATH_INFO`.
    pub filename: Vec<u8>,
}

/// The first of `aliases` that `uri` matches. `regex` runs the compiled expression of an alias, found by
/// [`Alias::id`], over the path.
pub fn match_alias<'a>(
    aliases: &'a [Arc<Alias>],
    uri: &[u8],
    mut regex: impl FnMut(&Alias, &[u8]) -> Option<Captures>,
) -> Option<AliasMatch<'a>> {
    aliases.iter().find_map(|alias| {
        let filename = match alias.target {
            AliasTarget::Prefix => by_prefix(alias, uri),
            AliasTarget::Regex => regex(alias, uri).and_then(|found| by_regex(alias, uri, &found)),
        }?;
        Some(AliasMatch { alias, filename })
    })
}

/// The file of a prefix alias. The prefix `/` takes nothing off the path.
fn by_prefix(alias: &Alias, uri: &[u8]) -> Option<Vec<u8>> {
    let matched = match_prefix(&alias.pattern, uri)?;
    let root = alias.pattern.iter().all(|&byte| byte == b'/');
    let rest = if root { uri } else { &uri[matched..] };
    Some([&alias.path, rest].concat())
}

/// The file of a regex alias, with what follows the match appended. A match of nothing at the start does not count.
fn by_regex(alias: &Alias, uri: &[u8], captures: &Captures) -> Option<Vec<u8>> {
    let (_, end) = captures[0]?;
    if end == 0 {
        return None;
    }
    let mut filename = substitute(&alias.path, uri, captures);
    filename.extend_from_slice(uri.get(end..)?);
    Some(filename)
}

/// How many bytes of `uri` the prefix takes. As in mod_alias: a run of slashes in the prefix takes any run of
/// slashes, and the match ends at a slash or at the end of the path.
pub fn match_prefix(prefix: &[u8], uri: &[u8]) -> Option<usize> {
    let run = |bytes: &[u8]| bytes.iter().take_while(|&&byte| byte == b'/').count();
    let (mut p, mut u) = (0, 0);
    while p < prefix.len() {
        if prefix[p] == b'/' {
            let slashes = run(&uri[u..]);
            if slashes == 0 {
                return None;
            }
            p += run(&prefix[p..]);
            u += slashes;
        } else {
            if uri.get(u) != Some(&prefix[p]) {
                return None;
            }
            p += 1;
            u += 1;
        }
    }
    let at_boundary = prefix.last() == Some(&b'/') || matches!(uri.get(u), None | Some(b'/'));
    at_boundary.then_some(u)
}

/// `template` with `$0` to `$9` replaced by the groups; a backslash takes the next byte literally.
pub fn substitute(template: &[u8], subject: &[u8], captures: &Captures) -> Vec<u8> {
    let mut out = Vec::with_capacity(template.len() + subject.len());
    let mut bytes = template.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek().copied()) {
            (b'$', Some(digit @ b'0'..=b'9')) => {
                bytes.next();
                if let Some((start, end)) = captures[usize::from(digit - b'0')] {
                    out.extend_from_slice(subject.get(start..end).unwrap_or_default());
                }
            }
            (b'\\', Some(next)) => {
                bytes.next();
                out.push(next);
            }
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::{AliasOptions, Defined, ServerKey, Text};
    use proptest::prelude::*;

    fn alias(target: AliasTarget, pattern: &str, path: &str) -> Arc<Alias> {
        Arc::new(Alias {
            id: 0,
            target,
            pattern: Text::from(pattern.as_bytes()),
            path: Text::from(path.as_bytes()),
            options: AliasOptions::default(),
            server: ServerKey::MAIN,
            defined: Defined { file: Text::from(&b"c"[..]), line: 1 },
        })
    }

    #[test]
    fn a_prefix_ends_at_a_slash_or_at_the_end() {
        let cases: &[(&str, &str, Option<usize>)] = &[
            ("/", "/", Some(1)),
            ("/", "/x", Some(1)),
            ("/app", "/app", Some(4)),
            ("/app", "/app/", Some(4)),
            ("/app", "/app/x", Some(4)),
            ("/app", "/apple", None),
            ("/app", "/ap", None),
            ("/app", "//app/x", Some(5)),
            ("/app/", "/app", None),
            ("/app/", "/app//x", Some(6)),
            ("//a//b", "/a/b", Some(4)),
            ("/a/b", "/a///b", Some(6)),
            ("/app", "", None),
            ("/app", "*", None),
        ];
        for (prefix, uri, expected) in cases {
            assert_eq!(match_prefix(prefix.as_bytes(), uri.as_bytes()), *expected, "{prefix} {uri}");
        }
    }

    #[test]
    fn the_first_alias_gives_the_file() {
        let aliases = [
            alias(AliasTarget::Prefix, "/app", "/srv/app.wsgi"),
            alias(AliasTarget::Prefix, "/dir/", "/srv/dir/"),
            alias(AliasTarget::Prefix, "/", "/srv/root.wsgi"),
        ];
        let file = |uri: &str| match_alias(&aliases, uri.as_bytes(), |_, _| None).map(|found| found.filename);
        for (uri, expected) in [
            ("/app", "/srv/app.wsgi"),
            ("/app/x//y", "/srv/app.wsgi/x//y"),
            ("/dir/a.wsgi/x", "/srv/dir/a.wsgi/x"),
            ("/", "/srv/root.wsgi/"),
            ("/apple", "/srv/root.wsgi/apple"),
            ("//apple", "/srv/root.wsgi//apple"),
        ] {
            assert_eq!(file(uri).as_deref(), Some(expected.as_bytes()), "{uri}");
        }
        assert_eq!(file("*"), None);
    }

    #[test]
    fn groups_of_an_expression_are_put_in_and_the_rest_is_appended() {
        let aliases = [alias(AliasTarget::Regex, "^/([^/]+)", "/srv/$1.wsgi")];
        let file = |uri: &str, ends: [Option<(usize, usize)>; 2]| {
            let mut captures = Captures::default();
            captures[..2].copy_from_slice(&ends);
            match_alias(&aliases, uri.as_bytes(), |_, _| Some(captures)).map(|found| found.filename)
        };
        assert_eq!(file("/one/x", [Some((0, 4)), Some((1, 4))]).as_deref(), Some(&b"/srv/one.wsgi/x"[..]));
        assert_eq!(file("/one/x", [Some((0, 0)), None]), None);
        assert_eq!(file("/one", [Some((0, 4)), None]).as_deref(), Some(&b"/srv/.wsgi"[..]));
    }

    #[test]
    fn dollars_and_backslashes_are_read_as_httpd_reads_them() {
        let mut captures = Captures::default();
        captures[0] = Some((0, 2));
        captures[9] = Some((1, 2));
        for (template, expected) in [("$0-$9-$1", "ab-b-"), (r"\$0$x$", "$0$x$"), (r"a\", r"a\"), (r"\\", r"\")] {
            assert_eq!(substitute(template.as_bytes(), b"ab", &captures), expected.as_bytes(), "{template}");
        }
    }

    proptest! {
        #[test]
        fn a_match_is_what_collapsed_slashes_say(prefix in "/[/ab]{0,5}", uri in "[/ab]{0,8}") {
            let flat = |text: &str| crate::environ::collapse_slashes(text.as_bytes()).into_owned();
            let (p, u) = (flat(&prefix), flat(&uri));
            let expected = u.starts_with(&p) && (p.ends_with(b"/") || u.len() == p.len() || u[p.len()] == b'/');
            let found = match_prefix(prefix.as_bytes(), uri.as_bytes());
            prop_assert_eq!(found.is_some(), expected);
            if let Some(end) = found {
                prop_assert_eq!(flat(&uri[..end]), p);
            }
        }
    }
}
