//! The records that directives fill: for the whole server, for a virtual host, for a directory.
//!
//! Texts and lists are reference counted, because httpd merges directory records while it serves a
//! request: a merge copies pointers only.

use std::sync::Arc;

use super::Text;
use super::alias::Alias;
use super::group::ProcessGroup;
use super::interpreter::{InterpreterLayer, InterpreterOptions};
use super::place::{Defined, ServerKey};
use super::subnet::Subnet;
use super::values::{HashSeed, HeadMapping};

/// A script that decides (`WSGIAccessScript` and its like), with the groups that its directive gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The file.
    pub path: Text,
    /// `process-group=`; empty is embedded mode, which holds without it.
    pub process_group: Text,
    /// `application-group=` (unexpanded); empty is the main interpreter, which holds without it.
    pub application_group: Text,
    /// Where the directive stands.
    pub defined: Defined,
    /// In a `.htaccess` file, whose author may not be the administrator.
    pub in_htaccess: bool,
}

/// `WSGIHandlerScript`: a handler name and the script behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerScript {
    /// The name for `SetHandler` and `AddHandler`.
    pub handler: Text,
    /// The script.
    pub path: Text,
    /// `process-group=`; empty is `%{GLOBAL}`.
    pub process_group: Option<Text>,
    /// `application-group=`; empty is `%{GLOBAL}`.
    pub application_group: Option<Text>,
    /// `pass-authorization=`.
    pub pass_authorization: Option<bool>,
}

/// `WSGIImportScript`: a script to load when a process starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportScript {
    /// The script.
    pub path: Text,
    /// The process group; empty is embedded mode.
    pub process_group: Text,
    /// The application group; empty is the main interpreter.
    pub application_group: Text,
    /// The server whose configuration names it.
    pub server: ServerKey,
    /// Where it stands.
    pub defined: Defined,
}

/// `WSGITelemetryService`.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetryService {
    /// The path of the socket.
    pub socket: Text,
    /// Seconds between two reports.
    pub interval: f64,
}

/// What is allowed at server, virtual host and directory level. `None` is "not given here".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestConfig {
    /// `WSGIHandlerScript`, merged by handler name.
    pub handler_scripts: Vec<Arc<HandlerScript>>,
    /// `WSGICallableObject`.
    pub callable_object: Option<Text>,
    /// `WSGIProcessGroup`; empty is `%{GLOBAL}`.
    pub process_group: Option<Text>,
    /// `WSGIApplicationGroup`; empty is `%{GLOBAL}`.
    pub application_group: Option<Text>,
    /// `WSGIRestrictProcess`; an empty name is `%{GLOBAL}`.
    pub restrict_process: Option<Arc<[Text]>>,
    /// `WSGIDispatchScript`.
    pub dispatch_script: Option<Arc<Script>>,
    /// `WSGIPassAuthorization`.
    pub pass_authorization: Option<bool>,
    /// `WSGIScriptReloading`.
    pub script_reloading: Option<bool>,
    /// `WSGIErrorOverride`.
    pub error_override: Option<bool>,
    /// `WSGIChunkedRequest`.
    pub chunked_request: Option<bool>,
    /// `WSGIMapHEADToGET`.
    pub map_head_to_get: Option<HeadMapping>,
    /// `WSGIIgnoreActivity`.
    pub ignore_activity: Option<bool>,
    /// `WSGITrustedProxyHeaders`, in the form `HTTP_X_FORWARDED_FOR`.
    pub trusted_proxy_headers: Option<Arc<[Text]>>,
    /// `WSGITrustedProxies`.
    pub trusted_proxies: Option<Arc<[Subnet]>>,
    /// `WSGIEnableSendfile`.
    pub enable_sendfile: Option<bool>,
    /// `WSGIPassApacheRequest`.
    pub pass_apache_request: Option<bool>,
    /// `WSGIAccessScript`.
    pub access_script: Option<Arc<Script>>,
    /// `WSGIAuthUserScript`.
    pub auth_user_script: Option<Arc<Script>>,
    /// `WSGIAuthGroupScript`.
    pub auth_group_script: Option<Arc<Script>>,
    /// `WSGIGroupAuthoritative`.
    pub group_authoritative: Option<bool>,
}

impl RequestConfig {
    /// Merges two records: each value that `add`, the inner one, gives replaces the value of `base`.
    pub fn merge(base: &Self, add: &Self) -> Self {
        macro_rules! inner {
            ($($field:ident),* $(,)?) => {
                RequestConfig {
                    handler_scripts: merge_handlers(&base.handler_scripts, &add.handler_scripts),
                    $($field: add.$field.clone().or_else(|| base.$field.clone()),)*
                }
            };
        }
        inner!(
            callable_object,
            process_group,
            application_group,
            restrict_process,
            dispatch_script,
            pass_authorization,
            script_reloading,
            error_override,
            chunked_request,
            map_head_to_get,
            ignore_activity,
            trusted_proxy_headers,
            trusted_proxies,
            enable_sendfile,
            pass_apache_request,
            access_script,
            auth_user_script,
            auth_group_script,
            group_authoritative,
        )
    }

    /// The script that `WSGIHandlerScript` gives to `handler`.
    pub fn handler_script(&self, handler: &[u8]) -> Option<&Arc<HandlerScript>> {
        self.handler_scripts.iter().find(|script| *script.handler == *handler)
    }
}

/// The inner table laid over the outer one: an inner name replaces the same outer name.
fn merge_handlers(base: &[Arc<HandlerScript>], add: &[Arc<HandlerScript>]) -> Vec<Arc<HandlerScript>> {
    let kept = base.iter().filter(|outer| !add.iter().any(|inner| inner.handler == outer.handler));
    kept.chain(add).cloned().collect()
}

/// What a server or a virtual host has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerConfig {
    /// `WSGIScriptAlias` and `WSGIScriptAliasMatch`, in the order in which they are tried.
    pub aliases: Vec<Arc<Alias>>,
    /// Values that directories inherit unless they have their own.
    pub request: RequestConfig,
}

impl ServerConfig {
    /// A virtual host's record `add` over the main server's `base`; its aliases are tried first.
    pub fn merge(base: &Self, add: &Self) -> Self {
        ServerConfig {
            aliases: add.aliases.iter().chain(&base.aliases).cloned().collect(),
            request: RequestConfig::merge(&base.request, &add.request),
        }
    }
}

/// What a directory-like section or a `.htaccess` file has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DirConfig {
    /// Its values; each beats the server's.
    pub request: RequestConfig,
}

impl DirConfig {
    /// The inner record `add` over the outer `base`.
    pub fn merge(base: &Self, add: &Self) -> Self {
        DirConfig { request: RequestConfig::merge(&base.request, &add.request) }
    }
}

/// Settings that only the main server can have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeConfig {
    /// `WSGISocketPrefix`.
    pub socket_prefix: Option<Text>,
    /// `WSGISocketRotation`.
    pub socket_rotation: Option<bool>,
    /// `WSGIAcceptMutex`.
    pub accept_mutex: Option<Text>,
    /// `WSGIRestrictEmbedded`.
    pub restrict_embedded: Option<bool>,
    /// `WSGIPythonHome`.
    pub python_home: Option<Text>,
    /// `WSGIPythonEggs`.
    pub python_eggs: Option<Text>,
    /// `WSGIPythonOptimize`.
    pub python_optimize: Option<u8>,
    /// `WSGIPythonWarnings`, in order.
    pub python_warnings: Vec<Text>,
    /// `WSGIPythonHashSeed`.
    pub python_hash_seed: Option<HashSeed>,
    /// `WSGIDontWriteBytecode`.
    pub dont_write_bytecode: Option<bool>,
    /// `WSGIDestroyInterpreter`.
    pub destroy_interpreter: Option<bool>,
    /// `WSGICaseSensitivity`.
    pub case_sensitivity: Option<bool>,
    /// `WSGIServerMetrics`.
    pub server_metrics: Option<bool>,
    /// `WSGIVerboseDebugging`.
    pub verbose_debugging: Option<bool>,
    /// `WSGITelemetryService`.
    pub telemetry_service: Option<TelemetryService>,
    /// `WSGISlowRequests`, seconds.
    pub slow_requests: Option<f64>,
    /// `WSGITelemetryOptions CaptureUserAgent`.
    pub telemetry_user_agent: bool,
}

/// One occurrence of `WSGIProcessGroup`, `WSGIApplicationGroup` or `WSGICallableObject`, kept to see which scripts it can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The value as stored; `%{GLOBAL}` is empty.
    pub value: Text,
    /// The server in whose configuration it stands.
    pub server: ServerKey,
    /// In a directory-like section, and not at server level.
    pub in_directory: bool,
}

/// One occurrence of `WSGIAccessScript`, `WSGIAuthUserScript`, `WSGIAuthGroupScript` or `WSGIDispatchScript`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deciding {
    /// The directive.
    pub directive: &'static str,
    /// It is `WSGIDispatchScript`: requests may go to any group.
    pub dispatches: bool,
    /// The script.
    pub script: Arc<Script>,
    /// The server in whose configuration it stands.
    pub server: ServerKey,
}

/// What one reading of the configuration gathers for all servers together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GlobalConfig {
    /// Settings of the main server.
    pub runtime: RuntimeConfig,
    /// Interpreter settings outside any `<WSGIInterpreterOptions>`; its `python_path` is `WSGIPythonPath`.
    pub interpreter: InterpreterOptions,
    /// `<WSGIInterpreterOptions>` containers in order.
    pub layers: Vec<InterpreterLayer>,
    /// `WSGIDaemonProcess`, in order.
    pub groups: Vec<ProcessGroup>,
    /// `WSGIImportScript`, in order.
    pub imports: Vec<ImportScript>,
    /// Every `WSGIProcessGroup`.
    pub process_groups: Vec<Recorded>,
    /// Every `WSGIApplicationGroup` outside `.htaccess`.
    pub application_groups: Vec<Recorded>,
    /// Every `WSGICallableObject` outside `.htaccess`.
    pub callables: Vec<Recorded>,
    /// Every `WSGIHandlerScript`, with its server.
    pub handler_scripts: Vec<(ServerKey, Arc<HandlerScript>)>,
    /// Every script that decides outside `.htaccess`, with its server and its directive.
    pub deciding: Vec<Deciding>,
    /// What older versions had and is left out, in sentences for the administrator.
    pub dropped: Vec<String>,
    /// How many aliases were defined; the next one's [`Alias::id`].
    pub(super) alias_count: usize,
    /// The container that is being read: an index of `layers`.
    pub(super) open_layer: Option<usize>,
}

impl GlobalConfig {
    /// The process group `name`.
    pub fn group(&self, name: &[u8]) -> Option<&ProcessGroup> {
        self.groups.iter().find(|group| *group.name == *name)
    }

    /// Ends the `<WSGIInterpreterOptions>` that `apply` opened; the glue calls it after walking the children.
    pub fn close_interpreter_options(&mut self) {
        self.open_layer = None;
    }

    /// How many aliases were defined; ids are below it.
    pub fn alias_count(&self) -> usize {
        self.alias_count
    }
}
