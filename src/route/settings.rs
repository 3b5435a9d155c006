//! The settings that hold for one request.

use std::sync::Arc;

use crate::directive::{AliasOptions, DirConfig, HandlerScript, HeadMapping, ServerConfig, Subnet, Text};

/// What holds for a request: an alias's options before the directory's values before the server's before
/// the defaults. Names of groups and callable are not expanded yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings<'a> {
    /// The process group; empty is embedded mode.
    pub process_group: &'a [u8],
    /// The application group; empty is the main interpreter.
    pub application_group: &'a [u8],
    /// The callable.
    pub callable_object: &'a [u8],
    /// Whether the callable came from an alias or a handler script and is to be taken literally.
    pub callable_is_literal: bool,
    /// The process groups that may be used, if there is a list.
    pub restrict_process: Option<&'a [Text]>,
    /// `WSGIPassAuthorization`, if it is given.
    pub pass_authorization: Option<bool>,
    /// `WSGIScriptReloading`.
    pub script_reloading: bool,
    /// `WSGIErrorOverride`.
    pub error_override: bool,
    /// `WSGIChunkedRequest`.
    pub chunked_request: bool,
    /// `WSGIMapHEADToGET`.
    pub map_head_to_get: HeadMapping,
    /// `WSGIIgnoreActivity`.
    pub ignore_activity: bool,
    /// `WSGITrustedProxyHeaders`.
    pub trusted_proxy_headers: Option<&'a [Text]>,
    /// `WSGITrustedProxies`.
    pub trusted_proxies: Option<&'a [Subnet]>,
    /// `WSGIEnableSendfile`.
    pub enable_sendfile: bool,
    /// `WSGIPassApacheRequest`.
    pub pass_apache_request: bool,
    /// The script behind the handler's name, if `WSGIHandlerScript` gave it one.
    pub handler_script: Option<&'a Arc<HandlerScript>>,
}

/// The callable of scripts behind `WSGIHandlerScript`.
const HANDLER_CALLABLE: &[u8] = b"handle_request";

/// The first value that is given: the directory's before the server's.
macro_rules! given {
    ($layers:expr, $field:ident) => {
        $layers.iter().flatten().find_map(|layer| layer.$field.as_ref())
    };
}

impl<'a> Settings<'a> {
    /// The settings of a request for `handler` that an alias with the options `alias` may have mapped.
    pub fn of(
        server: &'a ServerConfig,
        dir: Option<&'a DirConfig>,
        alias: Option<&'a AliasOptions>,
        handler: &[u8],
    ) -> Settings<'a> {
        let layers = [dir.map(|dir| &dir.request), Some(&server.request)];
        let script = layers.iter().flatten().find_map(|layer| layer.handler_script(handler));
        // The options of an alias are for the script that it names, not for another handler.
        let alias = alias.filter(|_| script.is_none());
        let option = |of_alias: Option<&'a Text>, of_script: Option<&'a Text>| of_script.or(of_alias);
        let process_group = option(
            alias.and_then(|alias| alias.process_group.as_ref()),
            script.and_then(|script| script.process_group.as_ref()),
        );
        let application_group = option(
            alias.and_then(|alias| alias.application_group.as_ref()),
            script.and_then(|script| script.application_group.as_ref()),
        );
        let pass_authorization =
            script.and_then(|script| script.pass_authorization).or(alias.and_then(|alias| alias.pass_authorization));
        let literal = script.map(|_| HANDLER_CALLABLE).or(alias.and_then(|alias| alias.callable_object.as_deref()));
        let switch = |value: Option<&bool>, default: bool| value.copied().unwrap_or(default);
        Settings {
            process_group: process_group.or(given!(layers, process_group)).map_or(b"", |text| &text[..]),
            application_group: application_group
                .or(given!(layers, application_group))
                .map_or(b"%{RESOURCE}", |text| &text[..]),
            callable_object: literal
                .or(given!(layers, callable_object).map(|text| &text[..]))
                .unwrap_or(b"application"),
            callable_is_literal: literal.is_some(),
            restrict_process: given!(layers, restrict_process).map(|list| &list[..]),
            pass_authorization: pass_authorization.or(given!(layers, pass_authorization).copied()),
            script_reloading: switch(given!(layers, script_reloading), true),
            error_override: switch(given!(layers, error_override), false),
            chunked_request: switch(given!(layers, chunked_request), false),
            map_head_to_get: given!(layers, map_head_to_get).copied().unwrap_or_default(),
            ignore_activity: switch(given!(layers, ignore_activity), false),
            trusted_proxy_headers: given!(layers, trusted_proxy_headers).map(|list| &list[..]),
            trusted_proxies: given!(layers, trusted_proxies).map(|list| &list[..]),
            enable_sendfile: switch(given!(layers, enable_sendfile), false),
            pass_apache_request: switch(given!(layers, pass_apache_request), false),
            handler_script: script,
        }
    }
}

impl<'a> Settings<'a> {
    /// The same with what a dispatch script chose: `None` keeps a value. What it names is expanded like a configured name.
    pub fn with_choice(
        self,
        process_group: Option<&'a [u8]>,
        application_group: Option<&'a [u8]>,
        callable: Option<&'a [u8]>,
    ) -> Settings<'a> {
        Settings {
            process_group: process_group.unwrap_or(self.process_group),
            application_group: application_group.unwrap_or(self.application_group),
            callable_object: callable.unwrap_or(self.callable_object),
            callable_is_literal: self.callable_is_literal && callable.is_none(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::RequestConfig;

    fn text(text: &str) -> Option<Text> {
        Some(Text::from(text.as_bytes()))
    }

    #[test]
    fn nothing_given_means_embedded_resource_application() {
        let server = ServerConfig::default();
        let settings = Settings::of(&server, None, None, b"wsgi-script");
        assert_eq!(settings.process_group, b"");
        assert_eq!(settings.application_group, b"%{RESOURCE}");
        assert_eq!(settings.callable_object, b"application");
        assert!(!settings.callable_is_literal && settings.script_reloading && settings.pass_authorization.is_none());
        assert_eq!(settings.map_head_to_get, HeadMapping::Auto);
    }

    #[test]
    fn an_alias_beats_a_directory_which_beats_the_server() {
        let request = |group, callable| RequestConfig {
            process_group: text(group),
            callable_object: callable,
            pass_authorization: Some(true),
            ..RequestConfig::default()
        };
        let server = ServerConfig { request: request("server", text("from_server")), ..ServerConfig::default() };
        let dir = DirConfig { request: request("dir", None) };
        let alias =
            AliasOptions { process_group: text("alias"), pass_authorization: Some(false), ..AliasOptions::default() };

        let settings = Settings::of(&server, None, None, b"wsgi-script");
        assert_eq!(settings.process_group, b"server");
        let settings = Settings::of(&server, Some(&dir), None, b"wsgi-script");
        assert_eq!((settings.process_group, settings.callable_object), (&b"dir"[..], &b"from_server"[..]));
        let settings = Settings::of(&server, Some(&dir), Some(&alias), b"wsgi-script");
        assert_eq!(settings.process_group, b"alias");
        assert_eq!(settings.pass_authorization, Some(false));
    }

    #[test]
    fn a_handler_script_has_its_own_callable_and_no_alias() {
        let script = Arc::new(HandlerScript {
            handler: Text::from(&b"md"[..]),
            path: Text::from(&b"/srv/md.py"[..]),
            process_group: text("docs"),
            application_group: None,
            pass_authorization: None,
        });
        let mut server = ServerConfig::default();
        server.request.handler_scripts.push(script);
        let alias = AliasOptions { process_group: text("alias"), callable_object: text("x"), ..Default::default() };
        let settings = Settings::of(&server, None, Some(&alias), b"md");
        assert_eq!((settings.process_group, settings.callable_object), (&b"docs"[..], &b"handle_request"[..]));
        assert!(settings.callable_is_literal && settings.handler_script.is_some());
    }
}
