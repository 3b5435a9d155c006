//! Which files the configuration makes scripts of which process group, and in which application group: what a process had
//! loaded is handed on over a `graceful` when the new configuration says the same of it as the old one.

use super::mounts::{is_completed, process_group};
use super::sole::Servers;
use crate::directive::{Alias, GlobalConfig, ServerConfig, ServerKey, Text};

/// A file or directory to which requests lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTarget {
    /// The file, or the directory of files.
    pub path: Text,
    /// The process group, empty for embedded mode; `None` when a request decides.
    pub process_group: Option<Text>,
    /// Everything that the configuration says about the application group. It is only compared.
    pub application_group: Vec<u8>,
}

/// The targets of all aliases and handler scripts, each where it stands. `name` is a server's `ServerName`.
pub fn targets<'n>(
    global: &GlobalConfig,
    servers: &Servers<'_>,
    name: impl Fn(ServerKey) -> Option<&'n [u8]>,
) -> Vec<RouteTarget> {
    let mut found: Vec<RouteTarget> = Vec::new();
    for (key, server) in servers {
        // Virtual hosts hold the main server's aliases as well.
        let own = server.aliases.iter().filter(|alias| alias.server == *key);
        found.extend(own.map(|alias| RouteTarget {
            path: fixed_part(alias),
            process_group: process_group(global, server, alias),
            application_group: says(
                global,
                server,
                alias.options.application_group.as_ref(),
                &[name(*key).unwrap_or_default(), &alias.pattern],
            ),
        }));
        let scripts = global.handler_scripts.iter().filter(|(owner, _)| owner == key);
        found.extend(scripts.map(|(_, script)| RouteTarget {
            path: script.path.clone(),
            process_group: script.process_group.clone().filter(|name| !name.starts_with(b"%{")),
            application_group: says(
                global,
                server,
                script.application_group.as_ref(),
                &[name(*key).unwrap_or_default(), &script.handler],
            ),
        }));
    }
    found
}

/// The path, or the directory that holds all files to which a regular expression completes it.
fn fixed_part(alias: &Alias) -> Text {
    if !is_completed(alias) {
        return alias.path.clone();
    }
    let fixed = alias.path.split(|byte| *byte == b'$').next().unwrap_or_default();
    let end = fixed.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    Text::from(&fixed[..end])
}

/// The application group that is given, or what a request makes one of: the server's name, the place in it, and what
/// directories say.
fn says(global: &GlobalConfig, server: &ServerConfig, given: Option<&Text>, place: &[&[u8]]) -> Vec<u8> {
    let fixed = |name: &&Text| !name.starts_with(b"%{");
    if let Some(name) = given.filter(fixed) {
        return name.to_vec();
    }
    let of_directories = global.application_groups.iter().filter(|place| place.in_directory);
    let mut of_directories = of_directories.map(|place| &*place.value).peekable();
    let of_server = given.or(server.request.application_group.as_ref());
    if let Some(name) = of_server.filter(fixed).filter(|_| of_directories.peek().is_none()) {
        return name.to_vec();
    }
    let of_server = of_server.map_or(&b"%{RESOURCE}"[..], |name| name);
    // What an alias gives comes before what directories say.
    let of_directories = of_directories.filter(|_| given.is_none());
    [of_server].into_iter().chain(place.iter().copied()).chain(of_directories).collect::<Vec<_>>().join(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::{DirConfig, Place, TABLE, apply};

    fn read(lines: &[&str], server_name: &str) -> Vec<(String, String, String)> {
        let (mut global, mut server) = (GlobalConfig::default(), ServerConfig::default());
        for text in lines {
            let in_directory = text.starts_with("  ");
            let (name, args) = text.trim().split_once(' ').unwrap();
            let row = TABLE.iter().find(|row| row.name_str() == name).unwrap();
            let place = Place { file: b"c", line: 1, server: ServerKey::MAIN, in_directory, in_htaccess: false };
            let mut dir = DirConfig::default();
            apply(row.id, args.as_bytes(), &place, &mut global, &mut server, Some(&mut dir)).unwrap();
        }
        let text = |text: &[u8]| String::from_utf8_lossy(text).replace('\n', " ");
        let all = targets(&global, &[(ServerKey::MAIN, &server)], |_| Some(server_name.as_bytes()));
        let group = |target: &RouteTarget| target.process_group.as_deref().map_or("?".into(), text);
        all.iter().map(|it| (text(&it.path), group(it), text(&it.application_group))).collect()
    }

    fn told(lines: &[&str]) -> Vec<String> {
        read(lines, "www").into_iter().map(|(path, group, of)| format!("{path} -> {group}: {of}")).collect()
    }

    #[test]
    fn each_script_is_told_with_what_decides_its_groups() {
        let lines = [
            "WSGIProcessGroup g",
            "WSGIScriptAlias /a /a",
            "WSGIScriptAlias /b /b process-group=h application-group=x",
            "WSGIScriptAlias /c /c process-group=%{ENV:X} application-group=%{SERVER}",
            "WSGIScriptAliasMatch ^/d/(.*) /d/e$1.wsgi",
            "WSGIScriptAliasMatch ^/(.*) $1",
            "WSGIScriptAlias /f /f/",
            "WSGIHandlerScript md /md process-group=g",
        ];
        let expected = [
            "/a -> g: %{RESOURCE} www /a",
            "/b -> h: x",
            "/c -> ?: %{SERVER} www /c",
            "/d/ -> g: %{RESOURCE} www ^/d/(.*)",
            " -> g: %{RESOURCE} www ^/(.*)",
            "/f/ -> g: %{RESOURCE} www /f",
            "/md -> g: %{RESOURCE} www md",
        ];
        assert_eq!(told(&lines), expected);
    }

    #[test]
    fn what_changes_the_application_group_changes_the_target() {
        let alias = "WSGIScriptAlias /a /a process-group=g";
        let all = [
            read(&[alias], "www"),
            read(&[alias], "other"),
            read(&["WSGIScriptAlias /b /a process-group=g"], "www"),
            read(&[alias, "WSGIApplicationGroup x"], "www"),
            read(&[alias, "  WSGIApplicationGroup x"], "www"),
            read(&[alias, "  WSGIApplicationGroup y"], "www"),
            read(&[alias, "WSGIApplicationGroup x", "  WSGIApplicationGroup y"], "www"),
            read(&["WSGIScriptAlias /a /a process-group=g application-group=%{GLOBAL}"], "www"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{one:?}");
        }
        // What an alias says is not changed by what others say.
        let given = "WSGIScriptAlias /a /a process-group=g application-group=x";
        assert_eq!(read(&[given], "www"), read(&[given, "  WSGIApplicationGroup y"], "other"));
    }
}
