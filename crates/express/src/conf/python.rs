//! The module's part of the configuration: interpreter, process group, requests, services.

use super::lines::{Conf, quoted};
use super::server::log;
use crate::plan::{Mode, Plan, path_text};

/// Options that are written to WSGIDaemonProcess as they are.
const COPIED: [&str; 18] = [
    "maximum-requests",
    "queue-timeout",
    "socket-timeout",
    "connect-timeout",
    "request-timeout",
    "interrupt-timeout",
    "inactivity-timeout",
    "startup-timeout",
    "deadlock-timeout",
    "graceful-timeout",
    "eviction-timeout",
    "restart-interval",
    "cpu-time-limit",
    "shutdown-timeout",
    "send-buffer-size",
    "receive-buffer-size",
    "header-buffer-size",
    "response-flush-delay",
];
const COPIED_TOO: [&str; 2] = ["response-buffer-size", "response-socket-timeout"];

/// Which Python, and what holds for all of it.
pub fn interpreter(conf: &mut Conf, plan: &Plan) {
    let given = &plan.given;
    conf.comment("Python");
    conf.directive("WSGIPythonHome", &[&plan.facts.python.prefix]);
    let prefix = given.given("socket-prefix").map_or_else(|| plan.root.clone(), |dir| plan.absolute(dir));
    conf.directive("WSGISocketPrefix", &[&path_text(&prefix.join("wsgi"))]);
    conf.line("WSGISocketRotation Off");
    conf.line(&format!("WSGIDestroyInterpreter {}", if given.has("orphan-interpreter") { "Off" } else { "On" }));
    for filter in given.all("python-warnings") {
        conf.directive("WSGIPythonWarnings", &[filter]);
    }
    if let Some(seconds) = given.text("switch-interval") {
        conf.directive("WSGISwitchInterval", &[seconds]);
    }
    let flags = [
        ("free-threading", "WSGIFreeThreading"),
        ("verbose-debugging", "WSGIVerboseDebugging"),
        ("server-metrics", "WSGIServerMetrics"),
    ];
    for (_, directive) in flags.iter().filter(|(option, _)| given.has(option)) {
        conf.line(&format!("{directive} On"));
    }
    if let Some(target) = given.text("telemetry-service") {
        let interval = format!("interval={}", given.text("telemetry-interval").unwrap_or_default());
        conf.directive("WSGITelemetryService", &[target, &interval]);
    }
    if let Some(seconds) = given.text("slow-requests") {
        conf.directive("WSGISlowRequests", &[seconds]);
    }
    for options in given.all("telemetry-options") {
        conf.line(&format!("WSGITelemetryOptions {options}"));
    }
}

/// The process group of the application, or the paths for httpd's children.
pub fn process_group(conf: &mut Conf, plan: &Plan) {
    if !plan.runs_python() {
        return conf.line("WSGIRestrictEmbedded On");
    }
    if plan.mode != Mode::Daemon {
        let own = path_text(&plan.working_directory);
        let path: Vec<&str> = [own.as_str()].into_iter().chain(plan.python_path.iter().map(String::as_str)).collect();
        conf.directive("WSGIPythonPath", &[&path.join(":")]);
        return conf.directive("WSGIPythonEggs", &[&eggs(plan)]);
    }
    let given = &plan.given;
    conf.line("WSGIRestrictEmbedded On");
    let shown = match given.has("process-group") {
        true => plan.group.clone(),
        false => format!("{}:{}", plan.group, plan.facts.uid),
    };
    let mut options = vec![("display-name", format!("(wsgi:{shown})"))];
    if given.has("processes") {
        options.push(("processes", given.number("processes").max(1).to_string()));
    }
    options.push(("threads", given.number("threads").to_string()));
    options.extend(paths(plan));
    options.push(("listen-backlog", given.number("daemon-backlog").max(1).to_string()));
    let copied = COPIED.into_iter().chain(COPIED_TOO);
    options.extend(copied.map(|name| (name, given.text(name).unwrap_or_default().to_owned())));
    if let Some(seconds) = given.text("switch-interval") {
        options.push(("switch-interval", seconds.to_owned()));
    }
    if given.has("server-metrics") {
        options.push(("server-metrics", "On".to_owned()));
    }
    if plan.reloads() {
        // The old code serves until the new code is ready.
        options.push(("reload", "rolling".to_owned()));
    }
    daemon_process(conf, &plan.group, &options);
}

/// Where a process looks for code, and in which language it runs.
fn paths(plan: &Plan) -> Vec<(&'static str, String)> {
    let locale = &plan.facts.python.locale;
    let mut options = vec![("home", path_text(&plan.working_directory))];
    if !plan.python_path.is_empty() {
        options.push(("python-path", plan.python_path.join(":")));
    }
    options.extend([("python-eggs", eggs(plan)), ("lang", locale.clone()), ("locale", locale.clone())]);
    options
}

fn eggs(plan: &Plan) -> String {
    let named = plan.given.given("python-eggs").map(|dir| plan.absolute(dir));
    path_text(&named.unwrap_or_else(|| plan.root.join("python-eggs")))
}

fn daemon_process(conf: &mut Conf, name: &str, options: &[(&str, String)]) {
    let words: Vec<String> = options.iter().map(|(option, value)| format!("    {option}={}", quoted(value))).collect();
    conf.line(&format!("WSGIDaemonProcess {} \\\n{}", quoted(name), words.join(" \\\n")));
}

/// The process group and the application group of the handler scripts.
fn groups(plan: &Plan, application_group: &str) -> String {
    let group = if plan.mode == Mode::Daemon { plan.group.as_str() } else { "%{GLOBAL}" };
    format!("process-group={} application-group={}", quoted(group), quoted(application_group))
}

/// The handler scripts, and what holds for all requests of the application.
pub fn requests(conf: &mut Conf, plan: &Plan) {
    let given = &plan.given;
    let groups_of = |group: &str| groups(plan, group);
    conf.directive("WSGICallableObject", &[given.text("callable-object").unwrap_or_default()]);
    conf.line("WSGIPassAuthorization On");
    conf.directive("WSGIMapHEADToGET", &[given.text("map-head-to-get").unwrap_or_default()]);
    let flags = [
        ("chunked-request", "WSGIChunkedRequest On"),
        ("enable-sendfile", "EnableSendfile On"),
        ("enable-sendfile", "WSGIEnableSendfile On"),
        ("error-override", "WSGIErrorOverride On"),
        ("disable-reloading", "WSGIScriptReloading Off"),
    ];
    flags.iter().filter(|(option, _)| given.has(option)).for_each(|(_, line)| conf.line(line));
    for (option, directive) in
        [("trust-proxy-header", "WSGITrustedProxyHeaders"), ("trust-proxy", "WSGITrustedProxies")]
    {
        let values = given.all(option);
        if !values.is_empty() {
            conf.line(&format!("{directive} {}", values.join(" ")));
        }
    }
    if !plan.application.is_static() {
        let script = quoted(&path_text(&plan.root.join("handler.wsgi")));
        let groups = groups_of(given.text("application-group").unwrap_or_default());
        conf.line(&format!("WSGIHandlerScript wsgi-handler {script} {groups}"));
        if plan.preloads() {
            conf.line(&format!("WSGIImportScript {script} {groups}"));
        }
    }
    let handlers = given.pairs("add-handler");
    if !handlers.is_empty() {
        let script = quoted(&path_text(&plan.root.join("resource.wsgi")));
        conf.line(&format!("WSGIHandlerScript wsgi-resource {script} {}", groups_of("%{GLOBAL}")));
    }
    for (extension, _) in handlers {
        conf.directive("AddHandler", &["wsgi-resource", extension]);
    }
    for url in given.all("ignore-activity") {
        conf.section("Location", url, |conf| conf.line("WSGIIgnoreActivity On"));
    }
}

/// A script that decides about requests: in the daemon processes, so that httpd's children need no Python.
pub fn deciding_script(conf: &mut Conf, plan: &Plan, directive: &str, file: &str) {
    let file = quoted(&path_text(&plan.absolute(file)));
    let groups = if plan.mode == Mode::Daemon { format!(" {}", groups(plan, "%{GLOBAL}")) } else { String::new() };
    conf.line(&format!("{directive} {file}{groups}"));
}

/// Service processes.
pub fn services(conf: &mut Conf, plan: &Plan) {
    let given = &plan.given;
    for (name, file) in given.pairs("service-script") {
        let of = |option: &str| given.pairs(option).into_iter().rfind(|(of, _)| *of == name).map(|(_, value)| value);
        let group = format!("service:{name}");
        let mut options = vec![("display-name", "%{GROUP}".to_owned()), ("threads", "0".to_owned())];
        options.extend(of("service-user").map(|user| ("user", user.to_owned())));
        options.extend(of("service-group").map(|group| ("group", group.to_owned())));
        options.extend(paths(plan));
        let script = quoted(&path_text(&plan.absolute(file)));
        let import =
            format!("WSGIImportScript {script} process-group={} application-group=%{{GLOBAL}}", quoted(&group));
        let write = |conf: &mut Conf| {
            daemon_process(conf, &group, &options);
            conf.line(&import);
        };
        conf.comment(&format!("Service {name}"));
        match of("service-log-file") {
            None => write(conf),
            Some(log_file) => conf.section("VirtualHost", &format!("*:{}", given.number("port")), |conf| {
                conf.directive("ServerName", &[&format!("service-{name}.invalid")]);
                conf.directive("ErrorLog", &[&log(plan, log_file, "/dev/stderr")]);
                write(conf);
            }),
        }
    }
}
