//! The other generated files: apachectl, envvars, handler.wsgi, resource.wsgi. Pure: from the plan to text.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::plan::{Mode, Plan, path_text};

/// The name of the file in which processes tell how the application's start went.
pub const START: &str = "start";

/// A word for a shell.
pub fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// apachectl: sets the environment, then runs httpd with the generated configuration.
pub fn apachectl(plan: &Plan) -> String {
    let word = |path: &Path| shell_word(&path_text(path));
    let given = &plan.given;
    let host = given.text("host").unwrap_or("localhost");
    let port = given.number("port").to_string();
    let https_port = plan.tls.as_ref().map(|tls| tls.port.to_string()).unwrap_or_default();
    let locale = &plan.facts.python.locale;
    let variables = [
        ("MOD_WSGI_MODULES_DIRECTORY", path_text(&plan.facts.modules)),
        ("MOD_WSGI_SERVER_ROOT", path_text(&plan.root)),
        ("MOD_WSGI_LISTENER_HOST", host.to_owned()),
        ("MOD_WSGI_HTTP_PORT", port),
        ("MOD_WSGI_HTTPS_PORT", https_port),
        ("MOD_WSGI_WORKING_DIRECTORY", path_text(&plan.working_directory)),
        ("LANG", locale.clone()),
        ("LC_ALL", locale.clone()),
    ];
    let exports: String =
        variables.iter().map(|(name, value)| format!("export {name}={}\n", shell_word(value))).collect();
    let command_line: Vec<String> = plan.facts.command_line.iter().map(|word| shell_word(word)).collect();
    let name = given.text("process-name").filter(|name| !name.starts_with('(')).unwrap_or("httpd (mod_wsgi-express)");
    // Only bash can give a program another name.
    let exec = match plan.facts.shell.ends_with("bash") {
        true => format!("exec -a {}", shell_word(name)),
        false => "exec".to_owned(),
    };
    let mut arguments = format!("-f {}", word(&plan.root.join("httpd.conf")));
    if plan.mode == Mode::Debug {
        arguments += " -DONE_PROCESS";
    }
    if given.has("startup-log") {
        let file = plan.logs.join(given.text("startup-log-name").unwrap_or_default());
        arguments += &format!(" -E {}", word(&file));
    }
    let run = match given.has("enable-gdb") {
        true => {
            let gdb = shell_word(given.text("gdb-executable").unwrap_or("gdb"));
            format!("exec {gdb} -ex run --args \"$HTTPD\" {arguments} -k \"$@\"")
        }
        false => format!("{exec} \"$HTTPD\" {arguments} -k \"$@\""),
    };
    let status_url = shell_word(&format!("{}server-status", plan.url()));
    format!(
        r#"#!{shell}
# Made by {command_line}
# The next run writes it anew. Variables of your own belong into {envvars}.

HTTPD="${{HTTPD:-{httpd}}}"
{exports}
WSGI_RUN_USER="${{WSGI_RUN_USER:-{user}}}"
WSGI_RUN_GROUP="${{WSGI_RUN_GROUP:-{group}}}"
export MOD_WSGI_USER="${{MOD_WSGI_USER:-$WSGI_RUN_USER}}"
export MOD_WSGI_GROUP="${{MOD_WSGI_GROUP:-$WSGI_RUN_GROUP}}"

if test -f {envvars}; then
    . {envvars}
fi

case "$1" in
start|restart|graceful)
    if test "$(id -u)" = 0 && test "$MOD_WSGI_USER" = root; then
        echo "mod_wsgi-express: the server would run the application as root" >&2
        echo "to mend it: run mod_wsgi-express with --user NAME --group NAME, or set MOD_WSGI_USER and MOD_WSGI_GROUP" >&2
        exit 1
    fi
    ;;
esac

cd "$MOD_WSGI_WORKING_DIRECTORY" || exit 1

case "$1" in
start|stop|restart|graceful|graceful-stop)
    {run}
    ;;
configtest)
    {exec} "$HTTPD" {arguments} -t
    ;;
status)
    exec {python} -m webbrowser -t {status_url}
    ;;
"")
    echo "usage: $0 start|stop|restart|graceful|graceful-stop|configtest|status, or arguments of httpd" >&2
    exit 2
    ;;
*)
    {exec} "$HTTPD" {arguments} "$@"
    ;;
esac
"#,
        shell = plan.facts.shell,
        command_line = command_line.join(" "),
        httpd = plan.facts.httpd,
        user = plan.user,
        group = plan.user_group,
        envvars = word(&plan.root.join("envvars")),
        python = shell_word(&plan.facts.python.executable),
    )
}

/// The envvars that takes the place of an existing one, if the user names a script.
pub fn envvars(plan: &Plan) -> Option<String> {
    let script = plan.given.given("envvars-script")?;
    Some(format!(". {}\n", shell_word(&path_text(&plan.absolute(script)))))
}

/// handler.wsgi: what to load, then how.
pub fn handler(plan: &Plan) -> String {
    let given = &plan.given;
    let mut environ = Map::new();
    let mut set = |name: &str, value: &str| environ.insert(name.to_owned(), Value::from(value));
    set("MOD_WSGI_EXPRESS", "true");
    set("MOD_WSGI_SERVER_NAME", given.text("server-name").unwrap_or_default());
    set("MOD_WSGI_SERVER_ALIASES", &given.all("server-alias").join(" "));
    let switches = [
        ("MOD_WSGI_RELOADER_ENABLED", plan.watches()),
        ("MOD_WSGI_DEBUG_MODE", plan.mode == Mode::Debug),
        ("MOD_WSGI_DEBUGGER_ENABLED", given.has("enable-debugger")),
        ("MOD_WSGI_COVERAGE_ENABLED", given.has("enable-coverage")),
        ("MOD_WSGI_PROFILER_ENABLED", given.has("enable-profiler")),
        ("MOD_WSGI_RECORDER_ENABLED", given.has("enable-recorder")),
        ("MOD_WSGI_GDB_ENABLED", given.has("enable-gdb")),
    ];
    switches.iter().filter(|(_, on)| *on).for_each(|(name, _)| {
        set(name, "true");
    });
    let mut tools = Map::new();
    for (name, directory) in debugging_directories(plan) {
        tools.insert(name.to_owned(), Value::from(directory));
    }
    for (option, name) in [("enable-debugger", "debugger"), ("debugger-startup", "debugger_startup")] {
        if given.has(option) {
            tools.insert(name.to_owned(), Value::from(""));
        }
    }
    let settings = [
        ("type", json!(plan.application.kind)),
        ("target", json!(plan.application.target)),
        ("callable", json!(plan.application.callable)),
        ("factory", json!(plan.application.factory)),
        ("mount", json!(plan.mount)),
        ("start", json!(path_text(&plan.root.join(START)))),
        ("reload", json!(plan.reloads() && !plan.watches())),
        ("watch", json!(plan.watches())),
        ("environ", Value::Object(environ)),
        ("tools", Value::Object(tools)),
    ];
    let lines: String = settings.iter().map(|(key, value)| format!("    \"{key}\": {},\n", python(value))).collect();
    let rest = if plan.mode == Mode::Debug { include_str!("files/debug.py") } else { include_str!("files/serve.py") };
    format!("SETTINGS = {{\n{lines}}}\n\n{}{rest}", include_str!("files/handler.py"))
}

/// The tools of debug mode that write files, each with its directory.
pub fn debugging_directories(plan: &Plan) -> Vec<(&'static str, String)> {
    let tools = [("coverage", "htmlcov"), ("profiler", "pstats"), ("recorder", "archive")];
    let asked = tools.into_iter().filter(|(tool, _)| plan.given.has(&format!("enable-{tool}")));
    asked
        .map(|(tool, usual)| {
            let named = plan.given.given(&format!("{tool}-directory")).map(|dir| plan.absolute(dir));
            (tool, path_text(&named.unwrap_or_else(|| plan.root.join(usual))))
        })
        .collect()
}

/// resource.wsgi: which script serves which extension, then how.
pub fn resource(plan: &Plan) -> String {
    let handlers = plan.given.pairs("add-handler");
    let lines: String = handlers
        .iter()
        .map(|(extension, file)| {
            let extension = format!(".{}", extension.trim_start_matches('.'));
            let file = path_text(&plan.absolute(file));
            format!("    {}: {},\n", python(&json!(extension)), python(&json!(file)))
        })
        .collect();
    format!("HANDLERS = {{\n{lines}}}\n\n{}", include_str!("files/resource.py"))
}

/// A value as Python writes it. Its strings are those of JSON.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Object(map) => {
            let items: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", json!(key), python(value))).collect();
            format!("{{{}}}", items.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::planned;

    #[test]
    fn apachectl_quotes_what_a_shell_would_read() {
        let plan = planned(&["--working-directory", "work dir", "--startup-log"]).unwrap();
        let text = apachectl(&plan);
        assert!(text.starts_with("#!/bin/bash\n"));
        assert!(text.contains("MOD_WSGI_WORKING_DIRECTORY='/srv/work dir'"));
        assert!(text.contains("-f '/tmp/mod_wsgi-localhost:8000:1000/httpd.conf' -E '"));
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }

    #[test]
    fn the_handler_knows_its_application() {
        let text = handler(&planned(&["--mount-point", "shop/", "--reload-on-changes"]).unwrap());
        for line in [
            "\"target\": \"/srv/app.wsgi\"",
            "\"mount\": \"/shop\"",
            "\"watch\": True",
            "\"factory\": False",
            "\"MOD_WSGI_RELOADER_ENABLED\": \"true\"",
        ] {
            assert!(text.contains(line), "{line}");
        }
        let text = handler(&planned(&["--enable-profiler", "--reload-on-changes"]).unwrap());
        assert!(text.contains("\"watch\": False"));
        assert!(text.contains("\"profiler\": \"/tmp/mod_wsgi-localhost:8000:1000/pstats\""));
    }

    #[test]
    fn extensions_have_their_scripts() {
        let text = resource(&planned(&["--add-handler", "md", "md.py"]).unwrap());
        assert!(text.contains("\".md\": \"/srv/md.py\""));
    }

    #[test]
    fn an_envvars_script_is_read() {
        assert_eq!(envvars(&planned(&[]).unwrap()), None);
        assert_eq!(envvars(&planned(&["--envvars", "a.sh"]).unwrap()).unwrap(), ". '/srv/a.sh'\n");
    }
}
