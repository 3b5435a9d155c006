//! httpd's own part of the configuration: who it is, its modules, processes, limits and logs.

use super::lines::{Conf, quoted};
use super::sizes::{Parts, Sizes, clients, forked, threaded};
use crate::plan::{Mode, Plan, bracketed, path_text};

/// Server root, user, listeners.
pub fn identity(conf: &mut Conf, plan: &Plan) {
    let root = path_text(&plan.root);
    for name in defines(plan) {
        conf.directive("Define", &[name]);
    }
    conf.directive("ServerName", &[&bracketed(plan.given.text("host").unwrap_or("localhost"))]);
    conf.directive("ServerRoot", &[&root]);
    conf.directive("DefaultRuntimeDir", &[&root]);
    conf.directive("PidFile", &[&path_text(&plan.pid_file())]);
    conf.line("ServerTokens ProductOnly");
    conf.line("ServerSignature Off");
    let ports = [Some(plan.given.number("port")), plan.tls.as_ref().map(|tls| tls.port)];
    for port in ports.into_iter().flatten() {
        let address = match plan.given.text("host") {
            Some(host) => format!("{}:{port}", bracketed(host)),
            None => port.to_string(),
        };
        conf.directive("Listen", &[&address]);
    }
}

/// Names that the files of --include-file may ask for with `<IfDefine>`.
fn defines(plan: &Plan) -> Vec<&'static str> {
    let given = &plan.given;
    let by_option = [
        ("access-log", "MOD_WSGI_ACCESS_LOG"),
        ("allow-localhost", "MOD_WSGI_ALLOW_LOCALHOST"),
        ("auth-group-script", "MOD_WSGI_AUTH_GROUP"),
        ("auth-user-script", "MOD_WSGI_AUTH_USER"),
        ("ssl-certificate-chain-file", "MOD_WSGI_CERTIFICATE_CHAIN"),
        ("chunked-request", "MOD_WSGI_CHUNKED_REQUEST"),
        ("compress-responses", "MOD_WSGI_COMPRESS_RESPONSES"),
        ("directory-index", "MOD_WSGI_DIRECTORY_INDEX"),
        ("directory-listing", "MOD_WSGI_DIRECTORY_LISTING"),
        ("disable-reloading", "MOD_WSGI_DISABLE_RELOADING"),
        ("enable-sendfile", "MOD_WSGI_ENABLE_SENDFILE"),
        ("error-log-format", "MOD_WSGI_ERROR_LOG_FORMAT"),
        ("error-override", "MOD_WSGI_ERROR_OVERRIDE"),
        ("free-threading", "MOD_WSGI_FREE_THREADING"),
        ("host-access-script", "MOD_WSGI_HOST_ACCESS"),
        ("hsts-policy", "MOD_WSGI_HSTS_POLICY"),
        ("https-only", "MOD_WSGI_HTTPS_ONLY"),
        ("processes", "MOD_WSGI_MULTIPROCESS"),
        ("server-alias", "MOD_WSGI_SERVER_ALIAS"),
        ("server-metrics", "MOD_WSGI_SERVER_METRICS"),
        ("server-status", "MOD_WSGI_SERVER_STATUS"),
        ("slow-requests", "MOD_WSGI_SLOW_REQUESTS"),
        ("ssl-environment", "MOD_WSGI_SSL_ENVIRONMENT"),
        ("switch-interval", "MOD_WSGI_SWITCH_INTERVAL"),
        ("telemetry-options", "MOD_WSGI_TELEMETRY_OPTIONS"),
        ("telemetry-service", "MOD_WSGI_TELEMETRY_SERVICE"),
        ("ssl-ca-certificate-file", "MOD_WSGI_VERIFY_CLIENT"),
        ("server-name", "MOD_WSGI_VIRTUAL_HOST"),
        ("http2", "MOD_WSGI_WITH_HTTP2"),
        ("host", "MOD_WSGI_WITH_LISTENER_HOST"),
        ("with-php5", "MOD_WSGI_WITH_PHP5"),
        ("trust-proxy-header", "MOD_WSGI_WITH_PROXY_HEADERS"),
        ("python-path", "MOD_WSGI_WITH_PYTHON_PATH"),
        ("socket-prefix", "MOD_WSGI_WITH_SOCKET_PREFIX"),
        ("trust-proxy", "MOD_WSGI_WITH_TRUSTED_PROXIES"),
        ("orphan-interpreter", "ORPHAN_INTERPRETER"),
    ];
    let by_plan = [
        (plan.mode == Mode::Embedded, "EMBEDDED_MODE"),
        (plan.rotate, "MOD_WSGI_ROTATE_LOGS"),
        (plan.application.is_static(), "MOD_WSGI_STATIC_ONLY"),
        (plan.tls.is_some(), "MOD_WSGI_WITH_HTTPS"),
        (plan.given.number("keep-alive-timeout") > 0, "MOD_WSGI_KEEP_ALIVE"),
        (plan.preloads(), "MOD_WSGI_IMPORT_HANDLER_SCRIPT"),
        (super::site::has_proxies(plan), "MOD_WSGI_WITH_PROXY"),
        (super::site::without_www(plan).is_some(), "MOD_WSGI_REDIRECT_WWW"),
        (plan.mpm == "event", "MOD_WSGI_MPM_ENABLE_EVENT_MODULE"),
        (plan.mpm == "worker", "MOD_WSGI_MPM_ENABLE_WORKER_MODULE"),
        (plan.mpm == "prefork", "MOD_WSGI_MPM_ENABLE_PREFORK_MODULE"),
        (cgi_module(plan) == Some("cgid"), "MOD_WSGI_CGID_SCRIPT"),
        (cgi_module(plan) == Some("cgi"), "MOD_WSGI_CGI_SCRIPT"),
    ];
    let options = by_option.into_iter().filter(|(option, _)| given.has(option)).map(|(_, name)| name);
    options.chain(by_plan.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name)).collect()
}

/// The module that runs CGI scripts, if they are asked for.
pub fn cgi_module(plan: &Plan) -> Option<&'static str> {
    use crate::facts::Lies;
    let there = |name: &str| (plan.facts.lies)(&plan.facts.modules.join(format!("mod_{name}.so"))) == Lies::File;
    plan.given.has("with-cgi").then(|| if there("cgid") { "cgid" } else { "cgi" })
}

/// `LoadModule` of what the options need, and of the module.
pub fn modules(conf: &mut Conf, plan: &Plan) {
    let given = &plan.given;
    conf.comment("Modules");
    load(conf, &format!("mpm_{}", plan.mpm));
    let always =
        ["access_compat", "unixd", "authn_core", "authz_core", "authz_host", "mime", "rewrite", "alias", "dir"];
    always.into_iter().chain(["env", "headers", "filter", "reqtimeout"]).for_each(|name| load(conf, name));
    let on_demand = [
        (given.has("http2"), &["http2"][..]),
        (given.has("directory-listing"), &["autoindex"]),
        (given.has("compress-responses"), &["deflate"]),
        (given.has("auth-user-script"), &["auth_basic", "auth_digest", "authz_user"]),
        (super::site::has_proxies(plan), &["proxy", "proxy_http"]),
        (given.has("server-metrics") || given.has("server-status"), &["status"]),
        (given.has("access-log"), &["log_config"]),
        (plan.tls.is_some(), &["socache_shmcb", "ssl"]),
    ];
    on_demand.iter().filter(|(wanted, _)| *wanted).flat_map(|(_, names)| *names).for_each(|name| load(conf, name));
    if let Some(name) = cgi_module(plan) {
        load(conf, name);
    }
    if given.has("with-php5") {
        conf.line("LoadModule php5_module ${MOD_WSGI_MODULES_DIRECTORY}/libphp5.so");
    }
    conf.directive("LoadModule", &["wsgi_module", &path_text(&plan.facts.module)]);
    // mod_unixd defines these.
    conf.line("User ${MOD_WSGI_USER}");
    conf.line("Group ${MOD_WSGI_GROUP}");
}

/// Loads a module that httpd does not have built in.
fn load(conf: &mut Conf, name: &str) {
    conf.section("IfModule", &format!("!{name}_module"), |conf| {
        conf.line(&format!("LoadModule {name}_module \"${{MOD_WSGI_MODULES_DIRECTORY}}/mod_{name}.so\""));
    });
}

/// Children and threads.
pub fn process_model(conf: &mut Conf, plan: &Plan) {
    conf.comment("Children and threads");
    let is_prefork = plan.mpm == "prefork";
    let sizes = sizes(plan);
    let children = sizes.clients / sizes.threads;
    let kind = if is_prefork { "Servers" } else { "Threads" };
    // Children that finish their requests after a graceful restart have places of their own.
    conf.line(&format!("ServerLimit {}", if plan.mpm == "event" { children * 2 } else { children }));
    if !is_prefork {
        conf.line(&format!("ThreadLimit {}", sizes.threads));
        conf.line(&format!("ThreadsPerChild {}", sizes.threads));
        conf.line("ThreadStackSize 262144");
    }
    conf.line(&format!("StartServers {}", sizes.start));
    conf.line(&format!("MaxRequestWorkers {}", sizes.clients));
    conf.line(&format!("MinSpare{kind} {}", sizes.least_spare));
    conf.line(&format!("MaxSpare{kind} {}", sizes.most_spare));
    let recycling = if plan.mode == Mode::Embedded { plan.given.number("maximum-requests") } else { 0 };
    conf.line(&format!("MaxConnectionsPerChild {recycling}"));
    let kept = match (plan.mpm, plan.mode) {
        (_, Mode::Embedded) => 100,
        ("event", _) => 0,
        _ => 500,
    };
    conf.line(&format!("MaxKeepAliveRequests {kept}"));
    conf.line(&format!("ListenBacklog {}", plan.given.number("server-backlog")));
    conf.line("MaxMemFree 64");
}

fn sizes(plan: &Plan) -> Sizes {
    let capacity = plan.capacity();
    match (plan.mode, plan.mpm) {
        (Mode::Debug, _) => Sizes { clients: 1, threads: 1, start: 1, least_spare: 1, most_spare: 1 },
        (Mode::Embedded, "prefork") => {
            Sizes { clients: capacity, threads: 1, start: capacity, least_spare: capacity, most_spare: capacity }
        }
        (Mode::Embedded, _) => {
            let threads = plan.given.number("threads").max(1);
            let start = capacity / threads;
            Sizes { clients: capacity, threads, start, least_spare: capacity, most_spare: capacity }
        }
        (Mode::Daemon, mpm) => {
            let (initial, most) = if mpm == "prefork" { (0.05, 0.1) } else { (0.2, 0.6) };
            let initial = plan.given.decimal("initial-workers").unwrap_or(initial);
            let parts = Parts {
                initial,
                least: plan.given.decimal("minimum-spare-workers").unwrap_or(initial),
                most: plan.given.decimal("maximum-spare-workers").unwrap_or(most),
            };
            let clients = clients(plan.given.given("max-clients").and_then(|n| n.parse().ok()), capacity);
            if mpm == "prefork" { forked(clients, parts) } else { threaded(clients, parts) }
        }
    }
}

/// Timeouts and sizes of requests.
pub fn limits(conf: &mut Conf, plan: &Plan) {
    let given = &plan.given;
    conf.comment("Connections and requests");
    conf.line(&format!("Timeout {}", given.number("socket-timeout")));
    let parts: Vec<String> = ["header", "body"].into_iter().filter_map(|part| read_timeout(plan, part)).collect();
    if !parts.is_empty() {
        conf.line(&format!("RequestReadTimeout {}", parts.join(" ")));
    }
    match given.number("keep-alive-timeout") {
        0 => conf.line("KeepAlive Off"),
        seconds => {
            conf.line("KeepAlive On");
            conf.line(&format!("KeepAliveTimeout {seconds}"));
        }
    }
    conf.line(&format!("LimitRequestBody {}", given.number("limit-request-body")));
    conf.line("HostnameLookups Off");
    conf.directive("TypesConfig", &[&mime_types(plan)]);
    if given.has("http2") {
        conf.line("Protocols h2 h2c http/1.1");
    }
}

fn mime_types(plan: &Plan) -> String {
    match (plan.given.given("mime-types"), &plan.facts.python.mime_types) {
        (Some(file), _) => path_text(&plan.absolute(file)),
        (None, Some(file)) => file.clone(),
        (None, None) => "/dev/null".to_owned(),
    }
}

/// `header=15-30,MinRate=500`. httpd knows a range only together with a rate.
fn read_timeout(plan: &Plan, part: &str) -> Option<String> {
    let number = |name: &str| plan.given.number(&format!("{part}-{name}"));
    let (first, most, rate) = (number("timeout"), number("max-timeout"), number("min-rate"));
    let (range, rate) = match (most, rate) {
        (_, 0) => (String::new(), String::new()),
        (most, rate) if most <= first => (String::new(), format!(",MinRate={rate}")),
        (most, rate) => (format!("-{most}"), format!(",MinRate={rate}")),
    };
    (first > 0).then(|| format!("{part}={first}{range}{rate}"))
}

/// Error log and access log.
pub fn logs(conf: &mut Conf, plan: &Plan) {
    let given = &plan.given;
    conf.comment("Logs");
    let error_log = given.text("error-log-name").unwrap_or_default();
    conf.directive("ErrorLog", &[&log(plan, error_log, "/dev/stderr")]);
    conf.line(&format!("LogLevel {}", given.text("log-level").unwrap_or("warn")));
    if let Some(format) = given.text("error-log-format") {
        conf.line(&format!("ErrorLogFormat {}", quoted_format(format)));
    }
    if !given.has("access-log") {
        return;
    }
    let format = given.text("access-log-format").unwrap_or("common");
    let common = "%h %l %u %t \"%r\" %>s %b";
    let written = match format {
        "common" => common.to_owned(),
        "combined" => format!("{common} \"%{{Referer}}i\" \"%{{User-agent}}i\""),
        own => own.to_owned(),
    };
    let access_log = log(plan, given.text("access-log-name").unwrap_or_default(), "/dev/stdout");
    conf.line(&format!("CustomLog {} {}", quoted(&access_log), quoted_format(&written)));
}

/// A log file of this name in the log directory, as `ErrorLog` and `CustomLog` take it.
pub fn log(plan: &Plan, name: &str, terminal: &str) -> String {
    let file = path_text(&plan.logs.join(name));
    match (plan.to_terminal, plan.rotate, plan.facts.terminal_opens) {
        (true, _, true) => terminal.to_owned(),
        (true, _, false) if terminal.ends_with("stderr") => "|$cat >&2".to_owned(),
        (true, _, false) => "|$cat".to_owned(),
        (false, true, _) => {
            format!("|'{}' '{file}.%Y-%m-%d-%H_%M_%S' {}M", plan.facts.rotatelogs, plan.given.number("max-log-size"))
        }
        (false, false, _) => file,
    }
}

/// A format has its backslashes (`\n`) for httpd; only quotes are ours to protect.
fn quoted_format(format: &str) -> String {
    format!("\"{}\"", format.replace('"', "\\\""))
}
