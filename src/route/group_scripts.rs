//! Which scripts the configuration sends to which process group, seen before any request.

use super::permit::may_use;
use crate::directive::{
    Alias, AliasTarget, GlobalConfig, ImportScript, ProcessGroup, ServerConfig, ServerKey, Text, shown,
};

/// Every server with its merged record; the main server is among them.
pub type Servers<'a> = [(ServerKey, &'a ServerConfig)];

/// The only script that can reach a process group by the aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlyScript {
    /// The script.
    pub path: Text,
    /// The callable, where the configuration fixes it before the request.
    pub callable_object: Option<Text>,
    /// The URL prefix of its alias, if that has one.
    pub prefix: Option<Text>,
}

/// For each of [`GlobalConfig::groups`], its only script. `is_directory` asks the file system.
///
/// The answer is `None` whenever another script might be sent there by aliases, handler scripts or import scripts.
/// Files that only `SetHandler` or `AddHandler` make scripts are not seen.
pub fn only_scripts(
    global: &GlobalConfig,
    servers: &Servers<'_>,
    is_directory: &dyn Fn(&[u8]) -> bool,
) -> Vec<Option<OnlyScript>> {
    let mut routes = routes(global, servers, is_directory);
    routes.extend(imported(global));
    routes.extend(dispatched(global));
    let of_group = |group: &ProcessGroup| {
        // A configuration that has options for an interpreter by its name wants that interpreter, and not the main one
        // in its place.
        let may_be_main = !global.tells_interpreters_apart(&group.name);
        may_be_main.then(|| only_script(routes.iter().filter(|route| route.reaches(&group.name)))).flatten()
    };
    global.groups.iter().map(of_group).collect()
}

/// One way for requests: to these groups, with this script.
struct Route {
    /// The groups, or `None` when a request decides.
    groups: Option<Vec<Text>>,
    /// The script, or `None` when the path decides.
    script: Option<Text>,
    /// URL and application group, where an alias gives them: two mounts of one script are two applications, but
    /// the same mount in several virtual hosts (http and https, with and without `www`) is one.
    mount: Option<(Text, Option<Text>)>,
    /// The URL prefix of the alias, unless that is a regular expression.
    prefix: Option<Text>,
    /// The callable; `None` when a request decides, or when the script is only imported.
    callable: Option<Text>,
}

impl Route {
    /// Whether the route may lead to the group `name`.
    fn reaches(&self, name: &Text) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.contains(name))
    }
}

/// The only script of all `routes`, with the callable if they agree on it.
fn only_script<'r>(mut routes: impl Iterator<Item = &'r Route>) -> Option<OnlyScript> {
    let first = routes.next()?;
    let path = first.script.clone()?;
    let mut callable = first.callable.clone();
    for route in routes {
        if route.script.as_ref() != Some(&path) || route.mount != first.mount {
            return None;
        }
        callable = callable.filter(|name| route.callable.as_ref() == Some(name));
    }
    Some(OnlyScript { path, callable_object: callable, prefix: first.prefix.clone() })
}

/// Every route of the configuration.
fn routes(global: &GlobalConfig, servers: &Servers<'_>, is_directory: &dyn Fn(&[u8]) -> bool) -> Vec<Route> {
    let mut routes = Vec::new();
    for (key, server) in servers {
        let groups = groups_of_server(global, *key, server);
        let callable = callable_of_server(global, *key, server);
        for alias in &server.aliases {
            routes.push(Route {
                groups: alias.options.process_group.as_ref().map_or_else(|| groups.clone(), fixed),
                script: (!leads_to_many(alias, is_directory)).then(|| alias.path.clone()),
                mount: Some((alias.pattern.clone(), alias.options.application_group.clone())),
                prefix: (alias.target == AliasTarget::Prefix).then(|| alias.pattern.clone()),
                callable: alias.options.callable_object.clone().or_else(|| callable.clone()),
            });
        }
        // A virtual host inherits the main server's.
        let scripts = global.handler_scripts.iter().filter(|(owner, _)| inherits(*key, *owner));
        routes.extend(scripts.map(|(_, script)| Route {
            groups: script.process_group.as_ref().map_or_else(|| groups.clone(), fixed),
            script: Some(script.path.clone()),
            mount: None,
            prefix: None,
            callable: Some(Text::from(&b"handle_request"[..])),
        }));
    }
    routes
}

/// The scripts that are only imported. No request is for them, but they may be a group's only one.
fn imported(global: &GlobalConfig) -> impl Iterator<Item = Route> {
    global.imports.iter().map(|import| Route {
        groups: Some(vec![import.process_group.clone()]),
        script: Some(import.path.clone()),
        mount: None,
        prefix: None,
        callable: None,
    })
}

/// `WSGIDispatchScript` may send any request to any group.
fn dispatched(global: &GlobalConfig) -> Option<Route> {
    let may = global.deciding.iter().any(|deciding| deciding.dispatches);
    may.then_some(Route { groups: None, script: None, mount: None, prefix: None, callable: None })
}

/// Whether the directives of the server `owner` hold in `server`, too.
fn inherits(server: ServerKey, owner: ServerKey) -> bool {
    owner == server || owner == ServerKey::MAIN
}

/// The group `name`, or `None` when it is a token that only a request can expand.
fn fixed(name: &Text) -> Option<Vec<Text>> {
    (!name.starts_with(b"%{")).then(|| vec![name.clone()])
}

/// The groups that a request of `server` may get without an alias's option: the server's own and those of any
/// directory. `None` when a request decides.
fn groups_of_server(global: &GlobalConfig, key: ServerKey, server: &ServerConfig) -> Option<Vec<Text>> {
    let embedded = Text::from(&b""[..]);
    let own = server.request.process_group.as_ref().unwrap_or(&embedded);
    let of_directories = global.process_groups.iter().filter(|place| place.in_directory && inherits(key, place.server));
    let mut all = fixed(own)?;
    for place in of_directories {
        all.extend(fixed(&place.value)?);
    }
    Some(all)
}

/// The callable that every request of `server` gets without an alias's option, if it is the same for all.
fn callable_of_server(global: &GlobalConfig, key: ServerKey, server: &ServerConfig) -> Option<Text> {
    if global.callables.iter().any(|place| place.in_directory && inherits(key, place.server)) {
        return None;
    }
    match &server.request.callable_object {
        Some(name) => (!name.starts_with(b"%")).then(|| name.clone()),
        None => Some(Text::from(&b"application"[..])),
    }
}

/// Whether an alias gives a script of its own to different paths.
fn leads_to_many(alias: &Alias, is_directory: &dyn Fn(&[u8]) -> bool) -> bool {
    let substitutes = alias.target == AliasTarget::Regex && alias.path.contains(&b'$');
    substitutes || alias.path.ends_with(b"/") || is_directory(&alias.path)
}

/// A script to load when a process of a group starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preload {
    /// The script.
    pub path: Text,
    /// The process group; empty is embedded mode.
    pub process_group: Text,
    /// The application group; empty is the main interpreter.
    pub application_group: Text,
    /// How requests come to it, if they do.
    pub served: Option<Served>,
}

/// How requests come to a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The callable, where the configuration fixes it before the request.
    pub callable_object: Option<Text>,
    /// The URL prefix, if one leads to it.
    pub prefix: Option<Text>,
}

/// What `WSGIImportScript` and aliases with both groups fixed ask to load; else one sentence for each mistake, with
/// its place.
pub fn preloads(
    global: &GlobalConfig,
    servers: &Servers<'_>,
    is_directory: &dyn Fn(&[u8]) -> bool,
    same_name: impl Fn(ServerKey, ServerKey) -> bool,
) -> Result<Vec<Preload>, Vec<String>> {
    let (mut found, mut mistakes): (Vec<Preload>, Vec<String>) = (Vec::new(), Vec::new());
    let routes = routes(global, servers, is_directory);
    for (mut preload, server, place) in asked_for(global, servers, is_directory) {
        preload.served = served(&routes, &preload);
        match check_preload(global, &preload, server, &same_name) {
            Some(mistake) => mistakes.push(format!("{place}: {mistake}")),
            None if found.contains(&preload) => {}
            None => found.push(preload),
        }
    }
    mistakes.dedup();
    if mistakes.is_empty() { Ok(found) } else { Err(mistakes) }
}

/// How requests come to a script that is loaded at start. The aliases do not tell in which application group.
fn served(routes: &[Route], preload: &Preload) -> Option<Served> {
    let leads_there =
        |route: &&Route| route.script.as_ref() == Some(&preload.path) && route.reaches(&preload.process_group);
    let route = routes.iter().find(leads_there)?;
    Some(Served { callable_object: route.callable.clone(), prefix: route.prefix.clone() })
}

/// Everything to load, with the server and the place that ask for it.
fn asked_for(
    global: &GlobalConfig,
    servers: &Servers<'_>,
    is_directory: &dyn Fn(&[u8]) -> bool,
) -> Vec<(Preload, ServerKey, String)> {
    let of_import = |import: &ImportScript| {
        let preload = Preload {
            path: import.path.clone(),
            process_group: import.process_group.clone(),
            application_group: import.application_group.clone(),
            served: None,
        };
        (preload, import.server, format!("WSGIImportScript at {}", import.defined))
    };
    let of_alias = |alias: &Alias| {
        let fixed = |name: &Option<Text>| name.clone().filter(|name| !name.starts_with(b"%{"));
        let process_group = fixed(&alias.options.process_group)?;
        let application_group = fixed(&alias.options.application_group)?;
        if leads_to_many(alias, is_directory) {
            return None;
        }
        let directive = match alias.target {
            AliasTarget::Prefix => "WSGIScriptAlias",
            AliasTarget::Regex => "WSGIScriptAliasMatch",
        };
        let preload = Preload { path: alias.path.clone(), process_group, application_group, served: None };
        Some((preload, alias.server, format!("{directive} at {}", alias.defined)))
    };
    // Virtual hosts hold the main server's aliases as well; each counts once, where it stands.
    let own = servers.iter().flat_map(|(key, server)| server.aliases.iter().filter(|alias| alias.server == *key));
    global.imports.iter().map(of_import).chain(own.filter_map(|alias| of_alias(alias))).collect()
}

/// What is wrong with the process group of a script to load, as a clause.
fn check_preload(
    global: &GlobalConfig,
    preload: &Preload,
    server: ServerKey,
    same_name: &dyn Fn(ServerKey, ServerKey) -> bool,
) -> Option<String> {
    let name = &preload.process_group;
    if name.is_empty() {
        return None;
    }
    match global.group(name) {
        None => Some(format!("there is no process group \"{}\": no WSGIDaemonProcess defines it", shown(name))),
        Some(group) if !may_use(group, server, same_name) => Some(format!(
            "process group \"{}\" belongs to another virtual host: it is defined at {}",
            shown(name),
            group.defined
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::{DirConfig, Place, TABLE, apply};

    /// A configuration: lines of the main server and of virtual hosts. A line that begins with two spaces stands in a directory.
    struct Site {
        global: GlobalConfig,
        servers: Vec<(ServerKey, ServerConfig)>,
    }

    fn site(sections: &[&[&str]]) -> Site {
        let mut global = GlobalConfig::default();
        let mut own = Vec::new();
        for (key, lines) in sections.iter().enumerate() {
            let mut server = ServerConfig::default();
            for line in *lines {
                let in_directory = line.starts_with("  ");
                let (name, args) = line.trim().split_once(' ').unwrap();
                let row = TABLE.iter().find(|row| row.name_str() == name).unwrap();
                let place = Place { file: b"c", line: 1, server: ServerKey(key), in_directory, in_htaccess: false };
                let mut dir = DirConfig::default();
                apply(row.id, args.as_bytes(), &place, &mut global, &mut server, Some(&mut dir)).unwrap();
            }
            own.push(server);
        }
        let merged = |key: usize| if key == 0 { own[0].clone() } else { ServerConfig::merge(&own[0], &own[key]) };
        let servers = (0..own.len()).map(|key| (ServerKey(key), merged(key))).collect();
        Site { global, servers }
    }

    /// The group `g`'s script and callable, `?` for a callable that is not fixed.
    fn sole_of(sections: &[&[&str]]) -> Option<String> {
        let site = site(sections);
        let servers: Vec<_> = site.servers.iter().map(|(key, server)| (*key, server)).collect();
        let all = only_scripts(&site.global, &servers, &|path| path == b"/srv/dir");
        let index = site.global.groups.iter().position(|group| &*group.name == b"g").unwrap();
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        all[index].as_ref().map(|script| {
            let callable = script.callable_object.as_deref().map_or("?".into(), text);
            format!("{} {callable}", text(&script.path))
        })
    }

    #[test]
    fn one_script_is_alone() {
        let define = "WSGIDaemonProcess g";
        let cases: &[&[&[&str]]] = &[
            &[&[define, "WSGIScriptAlias / /a process-group=g"]],
            &[&[define, "WSGIScriptAlias / /a", "WSGIProcessGroup g"]],
            &[&[define, "WSGIScriptAlias / /a", "  WSGIProcessGroup g"]],
            &[&[define, "WSGIScriptAlias / /a process-group=g", "WSGIScriptAlias /b /b"]],
            &[&[define, "WSGIScriptAlias / /a process-group=g", "WSGIScriptAlias /b /b process-group=%{GLOBAL}"]],
            &[&[define, "WSGIScriptAliasMatch ^/x /a process-group=g"]],
            // Certbot copies the virtual host.
            &[
                &[],
                &[define, "WSGIScriptAlias / /a", "WSGIProcessGroup g"],
                &[define, "WSGIScriptAlias / /a", "WSGIProcessGroup g"],
            ],
            // The virtual host's own group replaces the main server's.
            &[
                &[define, "WSGIDaemonProcess h", "WSGIProcessGroup g", "WSGIScriptAlias / /a"],
                &["WSGIProcessGroup h", "WSGIScriptAlias /b /b"],
            ],
        ];
        for sections in cases {
            assert_eq!(sole_of(sections).as_deref(), Some("/a application"), "{sections:?}");
        }
    }

    #[test]
    fn a_script_that_may_have_company_is_not_alone() {
        let define = "WSGIDaemonProcess g";
        let alias = "WSGIScriptAlias / /a process-group=g";
        let cases: &[&[&[&str]]] = &[
            &[&[define]],
            &[&[define, alias, "WSGIScriptAlias /b /b process-group=g"]],
            &[&[define, alias, "WSGIScriptAlias /b /a process-group=g"]],
            &[&[define, alias, "WSGIScriptAlias / /a process-group=g application-group=x"]],
            &[&[define, alias, "WSGIScriptAlias /b /b", "  WSGIProcessGroup g"]],
            &[&[define, alias, "  WSGIProcessGroup g"], &["WSGIScriptAlias /b /b"]],
            &[&[define, alias, "WSGIScriptAlias /b /b process-group=%{ENV:X}"]],
            &[&[define, alias, "WSGIScriptAlias /b /b", "  WSGIProcessGroup %{SERVER}"]],
            &[&[define, "WSGIScriptAlias / /srv/dir process-group=g"]],
            &[&[define, "WSGIScriptAlias / /srv/x/ process-group=g"]],
            &[&[define, "WSGIScriptAliasMatch ^/(.*) /srv/$1 process-group=g"]],
            &[&[define, alias, "<WSGIInterpreterOptions application-group=x>"]],
            &[&[define, alias, "WSGIHandlerScript md /md process-group=g"]],
            &[&[define, alias, "WSGIImportScript /i process-group=g application-group=x"]],
        ];
        for sections in cases {
            assert_eq!(sole_of(sections), None, "{sections:?}");
        }
    }

    #[test]
    fn the_callable_is_given_where_it_is_fixed() {
        let define = "WSGIDaemonProcess g";
        let alias = "WSGIScriptAlias / /a process-group=g";
        let cases: &[(&[&str], &str)] = &[
            (&[define, alias, "WSGICallableObject app"], "/a app"),
            (&[define, alias, "  WSGICallableObject app"], "/a ?"),
            (&[define, alias, "WSGICallableObject %{ENV:X}"], "/a ?"),
            (&[define, "WSGIScriptAlias / /a process-group=g callable-object=x", "  WSGICallableObject y"], "/a x"),
        ];
        for (lines, expected) in cases {
            assert_eq!(sole_of(&[lines]).as_deref(), Some(*expected), "{lines:?}");
        }
    }

    fn loads(sections: &[&[&str]]) -> Result<Vec<String>, Vec<String>> {
        let site = site(sections);
        let servers: Vec<_> = site.servers.iter().map(|(key, server)| (*key, server)).collect();
        let found = preloads(&site.global, &servers, &|_| false, |_, _| false)?;
        let text = |text: &Text| String::from_utf8_lossy(text).into_owned();
        let line = |load: &Preload| {
            let place = format!("{} {}|{}", text(&load.path), text(&load.process_group), text(&load.application_group));
            load.served.as_ref().map_or(place.clone(), |served| {
                let prefix = served.prefix.as_ref().map_or("?".into(), text);
                format!("{place} {prefix} {}", served.callable_object.as_ref().map_or("?".into(), text))
            })
        };
        Ok(found.iter().map(line).collect())
    }

    #[test]
    fn scripts_with_both_groups_fixed_are_loaded_at_start() {
        let main = [
            "WSGIScriptAlias / /a process-group=g application-group=%{GLOBAL}",
            "WSGIScriptAlias /same /a process-group=g application-group=%{GLOBAL}",
            "WSGIScriptAlias /b /b process-group=g",
            "WSGIScriptAlias /c /c process-group=g application-group=%{RESOURCE}",
            "WSGIScriptAlias /d /d/ process-group=g application-group=x",
            "WSGIScriptAliasMatch ^/(.) /$1 process-group=g application-group=x",
            "WSGIImportScript /i process-group=%{GLOBAL} application-group=x",
            "WSGIDaemonProcess g",
        ];
        assert_eq!(loads(&[&main, &[]]).unwrap(), ["/i |x", "/a g| / application"]);
    }

    #[test]
    fn an_import_script_serves_where_an_alias_leads_to_it() {
        let main = [
            "WSGIDaemonProcess g",
            "WSGIDaemonProcess h",
            "WSGIProcessGroup g",
            "WSGICallableObject app",
            "WSGIScriptAlias /a /a",
            "WSGIScriptAliasMatch ^/b /b",
            "WSGIImportScript /a process-group=g application-group=%{GLOBAL}",
            "WSGIImportScript /b process-group=g application-group=x",
            "WSGIImportScript /a process-group=h application-group=x",
            "WSGIImportScript /i process-group=g application-group=x",
        ];
        assert_eq!(loads(&[&main]).unwrap(), ["/a g| /a app", "/b g|x ? app", "/a h|x", "/i g|x"]);
    }

    #[test]
    fn a_group_that_cannot_be_used_is_a_mistake_with_its_place() {
        let mistakes = loads(&[
            &["WSGIImportScript /i process-group=g application-group=x"],
            &["WSGIDaemonProcess g"],
            &["WSGIScriptAlias / /a process-group=h application-group=x"],
        ]);
        assert_eq!(
            mistakes.unwrap_err(),
            [
                "WSGIImportScript at c:1: process group \"g\" belongs to another virtual host: it is defined at c:1",
                "WSGIScriptAlias at c:1: there is no process group \"h\": no WSGIDaemonProcess defines it",
            ]
        );
    }
}
