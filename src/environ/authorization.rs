//! Whether the application sees the request's `Authorization` header.
//!
//! mod_wsgi keeps it back by default, because httpd's own passwords are none of the application's business. Where httpd
//! has no authentication configured there is nothing to protect, and an application with passwords of its own (API
//! tokens, mostly) cannot work without the header: there it passes unless the configuration says Off.

/// Why the header is kept from the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The configuration says Off.
    ByDirective,
    /// httpd authenticates users here, and nothing says On.
    ForHttpd,
}

/// The reason to keep the header back, if any. `setting` is what `WSGIPassAuthorization` or `pass-authorization` says;
/// `httpd_authenticates` is asked only where neither does.
pub fn withhold(setting: Option<bool>, httpd_authenticates: impl FnOnce() -> bool) -> Option<Withheld> {
    match setting {
        Some(true) => None,
        Some(false) => Some(Withheld::ByDirective),
        None => httpd_authenticates().then_some(Withheld::ForHttpd),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_decides_or_else_whether_httpd_authenticates() {
        assert_eq!(withhold(Some(true), || unreachable!()), None);
        assert_eq!(withhold(Some(false), || unreachable!()), Some(Withheld::ByDirective));
        assert_eq!(withhold(None, || true), Some(Withheld::ForHttpd));
        assert_eq!(withhold(None, || false), None);
    }
}
