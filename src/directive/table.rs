//! The table of directives. httpd's command table, the parser, the documentation and the tests walk it.

use std::ffi::CStr;

/// A set of places where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places(u8);

impl Places {
    /// The main server's configuration.
    pub const SERVER: Places = Places(1);
    /// `<VirtualHost>`.
    pub const VHOST: Places = Places(2);
    /// `<Directory>`, `<Location>`, `<Files>`, `<If>`.
    pub const DIR: Places = Places(4);
    /// `.htaccess` where `AllowOverride FileInfo` holds.
    pub const FILE_INFO: Places = Places(8);
    /// `.htaccess` where `AllowOverride AuthConfig` holds.
    pub const AUTH_CONFIG: Places = Places(16);

    /// Both sets together.
    pub const fn and(self, other: Places) -> Places {
        Places(self.0 | other.0)
    }

    /// Whether every place of `other` is in this set.
    pub const fn contains(self, other: Places) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether `.htaccess` is in this set, whatever override it needs.
    pub const fn in_htaccess(self) -> bool {
        self.0 & (Self::FILE_INFO.0 | Self::AUTH_CONFIG.0) != 0
    }
}

/// Server level only.
const S: Places = Places::SERVER;
/// Server and virtual host.
const SV: Places = S.and(Places::VHOST);
/// Server, virtual host and directory.
const SVD: Places = SV.and(Places::DIR);
/// The above and `.htaccess` with `FileInfo`.
const FILE: Places = SVD.and(Places::FILE_INFO);
/// Directory and `.htaccess` with `AuthConfig`.
const AUTH: Places = Places::DIR.and(Places::AUTH_CONFIG);

/// The arguments that a directive takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `On` or `Off`.
    Switch,
    /// `On`, `Off` or `Auto`.
    SwitchOrAuto,
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// A number of seconds; the flag says whether zero is allowed.
    Seconds {
        /// Zero is a value.
        zero: bool,
    },
    /// One text that is not empty.
    Word,
    /// One text; `%{GLOBAL}` becomes empty.
    Group,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `random` or a number of 32 bits.
    Seed,
    /// Directories with colons between them.
    SearchPath,
    /// Names of process groups, any number.
    Groups,
    /// Names of request headers, one or more.
    Headers,
    /// Addresses or subnets, one or more.
    Subnets,
    /// A script, then `process-group=` and `application-group=`.
    Script,
    /// `WSGIScriptAlias`.
    Alias,
    /// `WSGIScriptAliasMatch`.
    AliasMatch,
    /// `WSGIHandlerScript`.
    HandlerScript,
    /// `WSGIImportScript`.
    ImportScript,
    /// `WSGIDaemonProcess`.
    DaemonProcess,
    /// `WSGITelemetryService`.
    TelemetryService,
    /// `WSGITelemetryOptions`.
    TelemetryOptions,
    /// `<WSGIInterpreterOptions>`.
    Container,
}

/// How values of several occurrences and scopes come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The last occurrence holds; there is one scope.
    Last,
    /// The inner scope's value replaces the outer one's; a directory's beats any server's.
    Inner,
    /// As `Inner`; within one scope occurrences add up.
    InnerCollected,
    /// By name: the inner scope's entry replaces the outer one of the same name.
    ByName,
    /// Kept in order; the virtual host's stand before the main server's.
    Prepend,
    /// All occurrences of all servers are kept.
    Collect,
}

impl Merge {
    /// The rule in words.
    pub const fn text(self) -> &'static str {
        match self {
            Merge::Last => "the last one counts",
            Merge::Inner => "the inner scope counts; a directory counts before any server",
            Merge::InnerCollected => {
                "lists of one scope are joined; the list of the inner scope replaces that of the outer"
            }
            Merge::ByName => "each name counts by itself; the inner scope replaces an entry of the same name",
            Merge::Prepend => {
                "the module tries them in order, those of the virtual host before those of the main server"
            }
            Merge::Collect => "all of them count",
        }
    }
}

/// One directive.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which.
    pub id: Id,
    /// The name, as httpd wants it; containers begin with `<`.
    pub name: &'static CStr,
    /// Where it may stand.
    pub places: Places,
    /// What it takes.
    pub kind: Kind,
    /// How occurrences come together.
    pub merge: Merge,
    /// The arguments, for people.
    pub syntax: &'static str,
    /// What holds without it, for people.
    pub default: &'static str,
    /// One line on what it does, as `httpd -L` prints it.
    pub help: &'static CStr,
}

impl Row {
    /// The name as text.
    pub fn name_str(&self) -> &'static str {
        self.name.to_str().expect("the names in the table are ASCII")
    }

    /// The help as text.
    pub fn help_str(&self) -> &'static str {
        self.help.to_str().expect("the texts in the table are ASCII")
    }
}

macro_rules! directives {
    ($($id:ident $name:literal $places:ident $kind:expr, $merge:ident, $syntax:literal, $default:literal, $help:literal;)*) => {
        /// The directives, in the order of [`TABLE`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Id {
            $(#[doc = concat!("`", stringify!($id), "`, without the prefix `WSGI`.")] $id,)*
        }

        /// Every directive of the module.
        pub static TABLE: [Row; [$(Id::$id),*].len()] = [$(Row {
            id: Id::$id,
            name: $name,
            places: $places,
            kind: $kind,
            merge: Merge::$merge,
            syntax: $syntax,
            default: $default,
            help: $help,
        }),*];
    };
}

impl Id {
    /// Its row.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

/// The kinds of lock that httpd knows.
const MUTEXES: &[&str] = &["default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"];

directives! {
    ScriptAlias c"WSGIScriptAlias" SV Kind::Alias, Prepend,
        "URL-prefix path [process-group=NAME] [application-group=NAME] [callable-object=NAME] [pass-authorization=On|Off]",
        "none", c"Maps a URL prefix to a WSGI script, or to a directory of WSGI scripts.";
    ScriptAliasMatch c"WSGIScriptAliasMatch" SV Kind::AliasMatch, Prepend,
        "regex path [process-group=NAME] [application-group=NAME] [callable-object=NAME] [pass-authorization=On|Off]",
        "none", c"Maps URLs that match a regular expression to a WSGI script; $1 to $9 in path are its groups.";
    HandlerScript c"WSGIHandlerScript" SVD Kind::HandlerScript, ByName,
        "handler-name path [process-group=NAME] [application-group=NAME] [pass-authorization=On|Off]",
        "none", c"Names a handler for SetHandler and AddHandler; the function handle_request of the script is called.";
    CallableObject c"WSGICallableObject" FILE Kind::Word, Inner,
        "name|%{ENV:variable}", "application", c"Names the WSGI application in the script.";
    ProcessGroup c"WSGIProcessGroup" SVD Kind::Group, Inner,
        "name|%{GLOBAL}|%{SERVER}|%{HOST}|%{RESOURCE}|%{ENV:variable}", "%{GLOBAL} (embedded mode)",
        c"Selects the process group that runs the application; %{GLOBAL} is embedded mode.";
    ApplicationGroup c"WSGIApplicationGroup" SVD Kind::Group, Inner,
        "name|%{GLOBAL}|%{SERVER}|%{HOST}|%{RESOURCE}|%{ENV:variable}", "%{RESOURCE}",
        c"Selects the interpreter that runs the application; %{GLOBAL} is the main interpreter.";
    RestrictProcess c"WSGIRestrictProcess" SVD Kind::Groups, Inner,
        "[name ...]", "no restriction", c"Lists the process groups that requests here may use; %{GLOBAL} is embedded mode.";
    ImportScript c"WSGIImportScript" SV Kind::ImportScript, Collect,
        "path process-group=NAME application-group=NAME", "none", c"Names a script that a process loads when it starts.";
    DispatchScript c"WSGIDispatchScript" SVD Kind::Script, Inner,
        "path [process-group=NAME] [application-group=NAME]", "none", c"Names a script that chooses the groups and the callable for each request.";
    PassAuthorization c"WSGIPassAuthorization" FILE Kind::Switch, Inner,
        "On|Off", "On where httpd authenticates nobody, else Off", c"Passes the Authorization header of the request to the application.";
    ScriptReloading c"WSGIScriptReloading" FILE Kind::Switch, Inner,
        "On|Off", "On", c"Loads a script again when its file has changed.";
    ErrorOverride c"WSGIErrorOverride" FILE Kind::Switch, Inner,
        "On|Off", "Off", c"Replaces error responses of the application by httpd's ErrorDocument.";
    ChunkedRequest c"WSGIChunkedRequest" FILE Kind::Switch, Inner,
        "On|Off", "Off", c"Accepts request bodies with chunked transfer encoding.";
    MapHEADToGET c"WSGIMapHEADToGET" FILE Kind::SwitchOrAuto, Inner,
        "On|Off|Auto", "Auto", c"Makes HEAD requests GET for the application; Auto: only if an output filter needs the body.";
    IgnoreActivity c"WSGIIgnoreActivity" FILE Kind::Switch, Inner,
        "On|Off", "Off", c"Requests here do not count as activity for inactivity-timeout.";
    TrustedProxyHeaders c"WSGITrustedProxyHeaders" FILE Kind::Headers, InnerCollected,
        "header ...", "none", c"Lists the request headers in which a proxy describes its client.";
    TrustedProxies c"WSGITrustedProxies" FILE Kind::Subnets, InnerCollected,
        "address[/bits] ...", "any", c"Lists the addresses of the proxies whose headers the module believes.";
    EnableSendfile c"WSGIEnableSendfile" FILE Kind::Switch, Inner,
        "On|Off", "Off", c"Lets httpd send files of wsgi.file_wrapper with sendfile.";
    PassApacheRequest c"WSGIPassApacheRequest" SVD Kind::Switch, Inner,
        "On|Off", "Off", c"Passes httpd's request record to applications in embedded mode.";
    AccessScript c"WSGIAccessScript" AUTH Kind::Script, Inner,
        "path [process-group=NAME] [application-group=NAME]", "none", c"Names a script whose function allow_access decides which clients have access.";
    AuthUserScript c"WSGIAuthUserScript" AUTH Kind::Script, Inner,
        "path [process-group=NAME] [application-group=NAME]", "none", c"Names a script that checks passwords for the authentication provider wsgi.";
    AuthGroupScript c"WSGIAuthGroupScript" AUTH Kind::Script, Inner,
        "path [process-group=NAME] [application-group=NAME]", "none", c"Names a script that returns the groups of a user, for Require wsgi-group.";
    GroupAuthoritative c"WSGIGroupAuthoritative" AUTH Kind::Switch, Inner,
        "On|Off", "On", c"Accepted for compatibility; it has no meaning in httpd 2.4.";
    DaemonProcess c"WSGIDaemonProcess" SV Kind::DaemonProcess, Collect,
        "name [option=value ...]", "none", c"Defines a process group: daemon processes that run applications.";
    SocketPrefix c"WSGISocketPrefix" S Kind::Word, Last,
        "path", "not needed", c"Accepted for compatibility; there are no socket files.";
    SocketRotation c"WSGISocketRotation" S Kind::Switch, Last,
        "On|Off", "On", c"Accepted for compatibility; there are no socket files.";
    AcceptMutex c"WSGIAcceptMutex" S Kind::OneOf(MUTEXES), Last,
        "default|flock|fcntl|sysvsem|posixsem|pthread", "not needed", c"Accepted for compatibility; daemon processes share no accept lock.";
    RestrictEmbedded c"WSGIRestrictEmbedded" S Kind::Switch, Last,
        "On|Off", "Off", c"Refuses requests that would run in embedded mode.";
    PythonHome c"WSGIPythonHome" S Kind::Word, Last,
        "directory", "the python3 of the system", c"Names the Python installation or virtual environment to use.";
    PythonPath c"WSGIPythonPath" S Kind::SearchPath, Last,
        "directory[:directory ...]", "none", c"Puts directories before sys.path, in embedded mode or in the interpreters of its section.";
    PythonEggs c"WSGIPythonEggs" S Kind::Word, Last,
        "directory", "none", c"Sets PYTHON_EGG_CACHE in embedded mode.";
    PythonOptimize c"WSGIPythonOptimize" S Kind::Integer(0, 2), Last,
        "0|1|2", "0", c"Sets Python's optimization level, as its option -O does.";
    PythonWarnings c"WSGIPythonWarnings" S Kind::Word, Collect,
        "filter", "none", c"Adds a warning filter, as Python's option -W does.";
    PythonHashSeed c"WSGIPythonHashSeed" S Kind::Seed, Last,
        "random|number", "as Python's own: random", c"Sets the seed of Python's hash function.";
    DontWriteBytecode c"WSGIDontWriteBytecode" S Kind::Switch, Last,
        "On|Off", "Off", c"Keeps Python from writing .pyc files.";
    SwitchInterval c"WSGISwitchInterval" S Kind::Seconds { zero: false }, Last,
        "seconds", "Python's own (0.005)", c"Sets after how many seconds a Python thread lets other threads run.";
    DestroyInterpreter c"WSGIDestroyInterpreter" S Kind::Switch, Last,
        "On|Off", "On", c"Ends Python's interpreters, with their exit functions, when a process stops.";
    PerInterpreterGIL c"WSGIPerInterpreterGIL" S Kind::Switch, Last,
        "On|Off", "Off", c"Gives each interpreter but the main one its own global lock (Python 3.12 and later).";
    FreeThreading c"WSGIFreeThreading" S Kind::Switch, Last,
        "On|Off", "Off", c"Lets free-threaded builds of Python run without the global lock.";
    RestrictStdin c"WSGIRestrictStdin" S Kind::Switch, Last,
        "On|Off", "Off", c"Makes any use of sys.stdin an error.";
    RestrictStdout c"WSGIRestrictStdout" S Kind::Switch, Last,
        "On|Off", "Off", c"Makes any use of sys.stdout an error.";
    RestrictSignal c"WSGIRestrictSignal" S Kind::Switch, Last,
        "On|Off", "On", c"Keeps applications from registering signal handlers.";
    CaseSensitivity c"WSGICaseSensitivity" S Kind::Switch, Last,
        "On|Off", "On", c"Says whether the file system distinguishes upper and lower case.";
    ServerMetrics c"WSGIServerMetrics" S Kind::Switch, Last,
        "On|Off", "Off", c"Enables mod_wsgi.server_metrics() in embedded mode.";
    VerboseDebugging c"WSGIVerboseDebugging" S Kind::Switch, Last,
        "On|Off", "Off", c"Accepted for compatibility; use LogLevel wsgi:debug.";
    TelemetryService c"WSGITelemetryService" S Kind::TelemetryService, Last,
        "unix:/path [interval=seconds]", "off", c"Has processes report to the program mod_wsgi-telemetry.";
    SlowRequests c"WSGISlowRequests" S Kind::Seconds { zero: true }, Last,
        "seconds", "0 (off)", c"Has requests that take longer reported one by one (WSGITelemetryService).";
    TelemetryOptions c"WSGITelemetryOptions" S Kind::TelemetryOptions, Last,
        "[+|-]CaptureUserAgent|All|None", "None", c"Says whether reports of slow requests contain the User-Agent.";
    InterpreterOptions c"<WSGIInterpreterOptions" S Kind::Container, Collect,
        "[process-group=NAME] [application-group=NAME]>", "none", c"Holds directives for the interpreters of one group.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_directive_once_and_in_order() {
        assert_eq!(TABLE.len(), 49);
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.id as usize, index);
            let prefix = if row.kind == Kind::Container { "<WSGI" } else { "WSGI" };
            assert_eq!(row.name_str(), format!("{prefix}{:?}", row.id));
            assert!(row.help_str().ends_with('.') && row.help_str().len() < 120, "{}", row.name_str());
        }
    }
}
