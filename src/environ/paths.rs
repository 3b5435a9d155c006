//! `SCRIPT_NAME` and `PATH_INFO` out of httpd's path.

use std::borrow::Cow;

/// `SCRIPT_NAME`: the part of `uri` before `path_info`, runs of slashes made one.
pub fn script_name<'a>(uri: &'a [u8], path_info: &[u8], included: bool) -> Cow<'a, [u8]> {
    let end = if included || path_info.is_empty() { uri.len() } else { script_name_end(uri, path_info) };
    collapse_slashes(&uri[..end])
}

/// `PATH_INFO`: runs of slashes made one.
pub fn path_info(path_info: &[u8]) -> Cow<'_, [u8]> {
    collapse_slashes(path_info)
}

/// Where `path_info` begins in `uri`. As in `ap_find_path_info` both are compared from their ends; a run of slashes in
/// one stands for any run in the other, because httpd may have collapsed only one of them.
fn script_name_end(uri: &[u8], path_info: &[u8]) -> usize {
    let run = |text: &[u8]| text.iter().rev().take_while(|&&byte| byte == b'/').count();
    let (mut u, mut p) = (uri.len(), path_info.len());
    while u > 0 && p > 0 && uri[u - 1] == path_info[p - 1] {
        u -= run(&uri[..u]).max(1);
        p -= run(&path_info[..p]).max(1);
    }
    let start = u.saturating_sub(1);
    uri[start..].iter().position(|&byte| byte == b'/').map_or(uri.len(), |slash| start + slash)
}

/// A path of the host in a process whose root directory is `root`; `None` when it lies outside.
pub fn below_root<'p>(root: Option<&[u8]>, path: &'p [u8]) -> Option<&'p [u8]> {
    root.map_or(Some(path), |root| wsgi_wire::config::inside(root, path))
}

/// The value of the variable `name` for such a process, as mod_wsgi gives it: a `DOCUMENT_ROOT` outside is left out, a
/// `SCRIPT_FILENAME` outside (a resource that `WSGIHandlerScript` serves) stays what it is.
pub fn with_root<'v>(root: Option<&[u8]>, name: &[u8], value: &'v [u8]) -> Option<&'v [u8]> {
    match name {
        b"DOCUMENT_ROOT" => below_root(root, value),
        b"SCRIPT_FILENAME" => Some(below_root(root, value).unwrap_or(value)),
        _ => Some(value),
    }
}

/// `text` with each run of slashes made one; nothing is copied where there is none.
pub fn collapse_slashes(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.windows(2).any(|pair| pair == b"//") {
        return Cow::Borrowed(text);
    }
    let mut out = text.to_vec();
    out.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_path_is_split_where_the_path_info_begins() {
        let cases: &[(&str, &str, &str, &str)] = &[
            ("/", "/", "", "/"),
            ("/x/y", "/x/y", "", "/x/y"),
            ("/app", "", "/app", ""),
            ("/app/", "/", "/app", "/"),
            ("/app/x", "/x", "/app", "/x"),
            ("/x/x", "/x", "/x", "/x"),
            ("/app//x", "/x", "/app", "/x"),
            ("/app//x", "//x", "/app", "/x"),
            ("//app///x//y", "/x//y", "/app", "/x/y"),
            ("/app/x/", "/x/", "/app", "/x/"),
            ("/dir/app.wsgi/", "/", "/dir/app.wsgi", "/"),
            ("/unrelated", "/other", "/unrelated", "/other"),
            ("", "", "", ""),
        ];
        for (uri, info, script, rest) in cases {
            assert_eq!(&*script_name(uri.as_bytes(), info.as_bytes(), false), script.as_bytes(), "{uri} {info}");
            assert_eq!(&*path_info(info.as_bytes()), rest.as_bytes());
        }
        assert_eq!(&*script_name(b"/a.shtml/x", b"/x", true), b"/a.shtml/x");
    }

    #[test]
    fn paths_are_those_of_the_root_directory() {
        let root = Some(&b"/jail"[..]);
        let of = |name: &str, value| with_root(root, name.as_bytes(), value);
        assert_eq!(of("DOCUMENT_ROOT", b"/jail/htdocs"), Some(&b"/htdocs"[..]));
        assert_eq!(of("DOCUMENT_ROOT", b"/var/www"), None);
        assert_eq!(of("SCRIPT_FILENAME", b"/jail/x.wsgi"), Some(&b"/x.wsgi"[..]));
        assert_eq!(of("SCRIPT_FILENAME", b"/var/www/x.md"), Some(&b"/var/www/x.md"[..]));
        assert_eq!(of("OTHER", b"/jail/x"), Some(&b"/jail/x"[..]));
        assert_eq!(with_root(None, b"DOCUMENT_ROOT", b"/jail"), Some(&b"/jail"[..]));
        assert_eq!(below_root(root, b"/jailed"), None);
    }

    #[test]
    fn nothing_is_copied_without_a_run_of_slashes() {
        assert!(matches!(collapse_slashes(b"/a/b/"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn collapsing_leaves_single_slashes_and_all_else(text in "[/ab]{0,12}") {
            let out = collapse_slashes(text.as_bytes()).into_owned();
            prop_assert!(!out.windows(2).any(|pair| pair == b"//"));
            prop_assert_eq!(out.starts_with(b"/"), text.starts_with('/'));
            let others = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != b'/').collect::<Vec<_>>();
            prop_assert_eq!(others(&out), others(text.as_bytes()));
            prop_assert_eq!(collapse_slashes(&out).into_owned(), out.clone());
        }

        #[test]
        fn script_name_and_path_info_make_up_the_path(script in "(/[ab]{1,3}){0,3}", info in "(/[ab]{0,3}){0,3}") {
            let uri = format!("{script}{info}");
            let name = script_name(uri.as_bytes(), info.as_bytes(), false);
            prop_assert_eq!(&*name, script.as_bytes());
        }
    }
}
