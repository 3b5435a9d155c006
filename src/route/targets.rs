//! Which files the configuration makes scripts, of which process group, and in which application group. Over a
//! `graceful`, new processes take on what the old ones had loaded if the new configuration says the same of it as the
//! old one.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::group_scripts::Servers;
use super::mounts::{is_completed, process_group};
use crate::directive::{Alias, GlobalConfig, Recorded, ServerConfig, ServerKey, Text};

/// A file or directory to which requests lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTarget {
    /// The file, or the directory of files.
    pub path: Text,
    /// The process group, empty for embedded mode; `None` when a request decides.
    pub process_group: Option<Text>,
    /// A digest of everything that the configuration says about the groups. It is only compared.
    pub groups_digest: u64,
}

/// The targets of all aliases and handler scripts, each where it stands. `name` is a server's `ServerName`.
pub fn targets<'n>(
    global: &GlobalConfig,
    servers: &Servers<'_>,
    name: impl Fn(ServerKey) -> Option<&'n [u8]>,
) -> Vec<RouteTarget> {
    // The texts may be long where there are many directories, and are only compared.
    let target = |(path, process_group, settings): (Text, Option<Text>, Vec<u8>)| {
        let mut digest = DefaultHasher::new();
        settings.hash(&mut digest);
        RouteTarget { path, process_group, groups_digest: digest.finish() }
    };
    described(global, servers, name).map(target).collect()
}

/// Path, process group, and what the configuration says of the groups, of each target.
fn described<'n>(
    global: &GlobalConfig,
    servers: &Servers<'_>,
    name: impl Fn(ServerKey) -> Option<&'n [u8]>,
) -> impl Iterator<Item = (Text, Option<Text>, Vec<u8>)> {
    servers.iter().flat_map(move |(key, server)| {
        let name = name(*key).unwrap_or_default();
        // Virtual hosts hold the main server's aliases as well.
        let own = server.aliases.iter().filter(move |alias| alias.server == *key);
        let aliases = own.map(move |alias| {
            let (fixed, options) = (process_group(global, server, alias), &alias.options);
            let settings = [
                of_application(global, *key, server, options.application_group.as_ref(), &[name, &alias.pattern]),
                of_process(global, *key, options.process_group.as_ref(), fixed.as_ref()),
            ];
            (fixed_part(alias), fixed, settings.concat())
        });
        let scripts = global.handler_scripts.iter().filter(move |(owner, _)| owner == key);
        let scripts = scripts.map(move |(_, script)| {
            let fixed = script.process_group.clone().filter(|name| !name.starts_with(b"%{"));
            let settings = [
                of_application(global, *key, server, script.application_group.as_ref(), &[name, &script.handler]),
                of_process(global, *key, script.process_group.as_ref(), fixed.as_ref()),
            ];
            (script.path.clone(), fixed, settings.concat())
        });
        aliases.chain(scripts)
    })
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

/// What the directory sections of a server say, together with those of the main server, which hold for all servers.
fn of_directories(all: &[Recorded], key: ServerKey) -> impl Iterator<Item = &[u8]> {
    let mine = move |place: &&Recorded| place.in_directory && [key, ServerKey::MAIN].contains(&place.server);
    all.iter().filter(mine).map(|place| &*place.value)
}

/// The application group that is given, or what a request makes one of: the server's name, the place in it, and what
/// directories say.
fn of_application(
    global: &GlobalConfig,
    key: ServerKey,
    server: &ServerConfig,
    given: Option<&Text>,
    place: &[&[u8]],
) -> Vec<u8> {
    let fixed = |name: &&Text| !name.starts_with(b"%{");
    if let Some(name) = given.filter(fixed) {
        return name.to_vec();
    }
    let mut of_directories = of_directories(&global.application_groups, key).peekable();
    let of_server = given.or(server.request.application_group.as_ref());
    if let Some(name) = of_server.filter(fixed).filter(|_| of_directories.peek().is_none()) {
        return name.to_vec();
    }
    let of_server = of_server.map_or(&b"%{RESOURCE}"[..], |name| name);
    // What an alias gives comes before what directories say.
    let of_directories = of_directories.filter(|_| given.is_none());
    [of_server].into_iter().chain(place.iter().copied()).chain(of_directories).collect::<Vec<_>>().join(&b'\n')
}

/// What decides the process group of a request, where it is not `fixed`.
fn of_process(global: &GlobalConfig, key: ServerKey, given: Option<&Text>, fixed: Option<&Text>) -> Vec<u8> {
    if fixed.is_some() {
        return Vec::new();
    }
    let of_directories = of_directories(&global.process_groups, key).filter(|_| given.is_none());
    given.map(|name| &**name).into_iter().chain(of_directories).flat_map(|name| [b"\n; ", name].concat()).collect()
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
        let servers = [(ServerKey::MAIN, &server)];
        let name = |_| Some(server_name.as_bytes());
        let digests: Vec<_> = targets(&global, &servers, name).iter().map(|target| target.groups_digest).collect();
        let all: Vec<_> = described(&global, &servers, name).collect();
        for (one, other) in digests.iter().zip(&all).zip(digests.iter().zip(&all).skip(1)) {
            assert_eq!(one.0 == other.0, one.1.2 == other.1.2);
        }
        let group = |group: &Option<Text>| group.as_deref().map_or("?".into(), text);
        all.iter().map(|(path, of, settings)| (text(path), group(of), text(settings))).collect()
    }

    fn target_lines(lines: &[&str]) -> Vec<String> {
        read(lines, "www").into_iter().map(|(path, group, of)| format!("{path} -> {group}: {of}")).collect()
    }

    #[test]
    fn each_script_is_listed_with_what_decides_its_groups() {
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
            "/c -> ?: %{SERVER} www /c ; %{ENV:X}",
            "/d/ -> g: %{RESOURCE} www ^/d/(.*)",
            " -> g: %{RESOURCE} www ^/(.*)",
            "/f/ -> g: %{RESOURCE} www /f",
            "/md -> g: %{RESOURCE} www md",
        ];
        assert_eq!(target_lines(&lines), expected);
    }

    #[test]
    fn what_directories_say_of_the_process_group_belongs_to_it() {
        let aliases = ["WSGIScriptAlias /a /a", "WSGIScriptAlias /b /b process-group=g"];
        let with = |groups: &[&'static str]| target_lines(&[&aliases[..], groups].concat());
        let expected = ["/a -> ?: %{RESOURCE} www /a ; g ; h", "/b -> g: %{RESOURCE} www /b"];
        assert_eq!(with(&["  WSGIProcessGroup g", "  WSGIProcessGroup h"]), expected);
        assert_ne!(with(&["  WSGIProcessGroup g"])[0], with(&["  WSGIProcessGroup h"])[0]);
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
