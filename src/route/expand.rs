//! The `%{...}` values of group and callable names.

use std::borrow::Cow;

/// Finds the value of a variable.
pub type Lookup<'a> = dyn Fn(&[u8]) -> Option<Cow<'a, [u8]>> + 'a;

/// What the tokens stand for in one request.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The server's `ServerName`, whatever name the request used.
    pub server_name: &'a [u8],
    /// The server's port, as `ap_get_server_port` gives it.
    pub port: u16,
    /// The host that the request names, `r->hostname`.
    pub request_host: Option<&'a [u8]>,
    /// `SCRIPT_NAME` as [`crate::environ::script_name`] gives it.
    pub script_name: &'a [u8],
    /// `WSGICaseSensitivity`.
    pub case_sensitive: bool,
    /// Looks a name up in `r->notes`, then `r->subprocess_env`, then the process environment.
    pub env: &'a Lookup<'a>,
}

/// The group that `value` names. Only a value that is a token as a whole is expanded; an unset variable leaves it
/// as it is.
pub fn expand_group<'v>(value: &'v [u8], facts: &Facts<'_>) -> Cow<'v, [u8]> {
    let Some(variable) = variable_of(value) else { return expand_token(value, facts) };
    match (facts.env)(variable) {
        None => Cow::Borrowed(value),
        Some(found) if found.starts_with(b"%") && variable_of(&found).is_none() => {
            Cow::Owned(expand_token(&found, facts).into_owned())
        }
        Some(found) => Cow::Owned(found.into_owned()),
    }
}

/// As [`expand_group`], for authentication, access and dispatch scripts, which have only the server's own tokens.
pub fn expand_auth_group<'v>(value: &'v [u8], facts: &Facts<'_>) -> Cow<'v, [u8]> {
    if value == b"%{RESOURCE}" { Cow::Borrowed(value) } else { expand_token(value, facts) }
}

/// The name of the callable: `%{ENV:x}` is looked up, and whatever stays a token means `application`.
pub fn expand_callable<'v>(value: &'v [u8], facts: &Facts<'_>) -> Cow<'v, [u8]> {
    const DEFAULT: Cow<'static, [u8]> = Cow::Borrowed(b"application");
    if !value.starts_with(b"%") {
        return Cow::Borrowed(value);
    }
    match variable_of(value).and_then(facts.env) {
        Some(found) if !found.starts_with(b"%") && !found.is_empty() => Cow::Owned(found.into_owned()),
        _ => DEFAULT,
    }
}

/// The `x` of a value `%{ENV:x}`.
fn variable_of(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"%{ENV:")?.strip_suffix(b"}")
}

/// The tokens that need no look-up.
fn expand_token<'v>(value: &'v [u8], facts: &Facts<'_>) -> Cow<'v, [u8]> {
    match value {
        b"%{GLOBAL}" => Cow::Borrowed(b""),
        b"%{SERVER}" => Cow::Owned(with_port(facts.server_name, facts.port)),
        b"%{HOST}" => Cow::Owned(with_port(facts.request_host.unwrap_or(facts.server_name), facts.port)),
        b"%{RESOURCE}" => {
            let mut group = with_port(facts.server_name, facts.port);
            group.push(b'|');
            let start = group.len();
            group.extend_from_slice(facts.script_name);
            if !facts.case_sensitive {
                group[start..].make_ascii_lowercase();
            }
            Cow::Owned(group)
        }
        _ => Cow::Borrowed(value),
    }
}

/// `name`, with the port unless it is that of a scheme.
fn with_port(name: &[u8], port: u16) -> Vec<u8> {
    let mut out = name.to_vec();
    if !matches!(port, 80 | 443) {
        out.extend_from_slice(format!(":{port}").as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &[u8]) -> Option<Cow<'static, [u8]>> {
        let value: &[u8] = match name {
            b"GROUP" => b"blue",
            b"TOKEN" => b"%{GLOBAL}",
            b"AGAIN" => b"%{ENV:GROUP}",
            b"EMPTY" => b"",
            _ => return None,
        };
        Some(Cow::Borrowed(value))
    }

    fn facts(port: u16, case_sensitive: bool) -> Facts<'static> {
        Facts { server_name: b"example.org", port, request_host: None, script_name: b"/App", case_sensitive, env: &env }
    }

    fn text(expanded: Cow<'_, [u8]>) -> String {
        String::from_utf8(expanded.into_owned()).unwrap()
    }

    #[test]
    fn group_tokens_stand_for_their_values() {
        for (value, expected) in [
            ("%{GLOBAL}", ""),
            ("", ""),
            ("plain", "plain"),
            ("%{SERVER}", "example.org:8000"),
            ("%{HOST}", "example.org:8000"),
            ("%{RESOURCE}", "example.org:8000|/App"),
            ("%{ENV:GROUP}", "blue"),
            ("%{ENV:TOKEN}", ""),
            ("%{ENV:AGAIN}", "%{ENV:GROUP}"),
            ("%{ENV:EMPTY}", ""),
            ("%{ENV:UNSET}", "%{ENV:UNSET}"),
            ("%{OTHER}", "%{OTHER}"),
            ("x%{GLOBAL}", "x%{GLOBAL}"),
        ] {
            assert_eq!(text(expand_group(value.as_bytes(), &facts(8000, true))), expected, "{value}");
        }
        assert_eq!(text(expand_group(b"%{SERVER}", &facts(443, true))), "example.org");
        assert_eq!(text(expand_group(b"%{RESOURCE}", &facts(80, false))), "example.org|/app");
        let named = Facts { request_host: Some(b"www"), ..facts(80, true) };
        assert_eq!(text(expand_group(b"%{HOST}", &named)), "www");
    }

    #[test]
    fn authentication_groups_have_fewer_tokens() {
        for value in ["%{RESOURCE}", "%{ENV:GROUP}"] {
            assert_eq!(text(expand_auth_group(value.as_bytes(), &facts(80, true))), value);
        }
        assert_eq!(text(expand_auth_group(b"%{SERVER}", &facts(80, true))), "example.org");
    }

    #[test]
    fn a_callable_that_stays_a_token_is_application() {
        for (value, expected) in [
            ("app", "app"),
            ("%{ENV:GROUP}", "blue"),
            ("%{ENV:UNSET}", "application"),
            ("%{ENV:TOKEN}", "application"),
            ("%{GLOBAL}", "application"),
        ] {
            assert_eq!(text(expand_callable(value.as_bytes(), &facts(80, true))), expected, "{value}");
        }
    }
}
