//! Which files the configuration names as scripts, by what, and for which process group: for the doctor, who looks
//! at them before any request does.

use super::group_scripts::Servers;
use crate::directive::{Alias, AliasTarget, GlobalConfig, ServerConfig, ServerKey, Text, did_you_mean};

/// A script of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The file, or the directory of files.
    pub path: Text,
    /// The directive, its first argument and its place.
    pub from: String,
    /// The process group, empty for embedded mode; `None` when a request decides.
    pub group: Option<Text>,
    /// Its application group is not the main interpreter's; `None` when a request decides.
    pub is_named: Option<bool>,
    /// The server that it stands in.
    pub server: ServerKey,
    /// The URL that leads to it with all below it; empty if an expression or nothing does.
    pub url: Text,
    /// It maps URLs to the path (and is no script that is only loaded, or that handles other files).
    pub maps_urls: bool,
}

/// Every script, each once where it stands. Targets that a regular expression completes are left out.
pub fn mounts(global: &GlobalConfig, servers: &Servers<'_>) -> Vec<Mount> {
    let mut found = Vec::new();
    for (key, server) in servers {
        // Virtual hosts hold the main server's aliases as well.
        let own = server.aliases.iter().filter(|alias| alias.server == *key && !is_completed(alias));
        found.extend(own.map(|alias| of_alias(global, server, alias)));
    }
    found.extend(global.handler_scripts.iter().map(|(_, script)| Mount {
        path: script.path.clone(),
        from: format!("WSGIHandlerScript {}", shown(&script.handler)),
        group: script.process_group.clone().filter(is_fixed),
        is_named: script.application_group.as_ref().and_then(names_interpreter),
        server: ServerKey::MAIN,
        url: Text::default(),
        maps_urls: false,
    }));
    found.extend(global.imports.iter().map(|import| Mount {
        path: import.path.clone(),
        from: format!("WSGIImportScript at {}", import.defined),
        group: Some(import.process_group.clone()),
        is_named: names_interpreter(&import.application_group),
        server: ServerKey::MAIN,
        url: Text::default(),
        maps_urls: false,
    }));
    found.extend(global.deciding.iter().map(|deciding| Mount {
        path: deciding.script.path.clone(),
        from: format!("{} at {}", deciding.directive, deciding.script.defined),
        group: Some(deciding.script.process_group.clone()),
        is_named: Some(!deciding.script.application_group.is_empty()),
        server: ServerKey::MAIN,
        url: Text::default(),
        maps_urls: false,
    }));
    found
}

fn of_alias(global: &GlobalConfig, server: &ServerConfig, alias: &Alias) -> Mount {
    let directive = match alias.target {
        AliasTarget::Prefix => "WSGIScriptAlias",
        AliasTarget::Regex => "WSGIScriptAliasMatch",
    };
    Mount {
        path: alias.path.clone(),
        from: format!("{directive} {} at {}", shown(&alias.pattern), alias.defined),
        group: process_group(global, server, alias),
        is_named: is_named(global, server, alias),
        server: alias.server,
        url: if alias.target == AliasTarget::Prefix { alias.pattern.clone() } else { Text::default() },
        maps_urls: true,
    }
}

/// The process group that an alias leads to, empty for embedded mode; `None` when a request decides.
pub(super) fn process_group(global: &GlobalConfig, server: &ServerConfig, alias: &Alias) -> Option<Text> {
    let in_directories = global.process_groups.iter().any(|place| place.in_directory);
    let group = match (&alias.options.process_group, &server.request.process_group) {
        (Some(group), _) => Some(group.clone()),
        _ if in_directories => None,
        (None, Some(group)) => Some(group.clone()),
        (None, None) => Some(Text::from(&b""[..])),
    };
    group.filter(is_fixed)
}

/// Whether an alias leads to an interpreter with a name, and not to the main one; `None` when a request decides.
fn is_named(global: &GlobalConfig, server: &ServerConfig, alias: &Alias) -> Option<bool> {
    let in_directories = global.application_groups.iter().any(|place| place.in_directory);
    match (&alias.options.application_group, &server.request.application_group) {
        (Some(group), _) => names_interpreter(group),
        _ if in_directories => None,
        (None, Some(group)) => names_interpreter(group),
        // %{RESOURCE}
        (None, None) => Some(true),
    }
}

/// Whether this value of an application group means another interpreter than the main one. Of the tokens only a variable
/// may mean that one.
fn names_interpreter(group: &Text) -> Option<bool> {
    (!group.starts_with(b"%{ENV:")).then_some(!group.is_empty())
}

/// Whether the path takes parts of the URL into it.
pub(super) fn is_completed(alias: &Alias) -> bool {
    alias.target == AliasTarget::Regex && alias.path.contains(&b'$')
}

/// Whether the name is no token that only a request can expand.
fn is_fixed(name: &Text) -> bool {
    !name.starts_with(b"%{")
}

fn shown(text: &[u8]) -> String {
    crate::directive::shown(text)
}

/// Scripts that their group cannot read, because they lie outside of its root directory; a sentence for each.
pub fn outside_roots(global: &GlobalConfig, mounts: &[Mount]) -> Vec<String> {
    let sentence = |mount: &Mount| {
        let group = global.group(mount.group.as_deref()?)?;
        let root = group.chroot.as_deref()?;
        wsgi_wire::config::inside(root, &mount.path).is_none().then(|| {
            let (path, root, name) = (shown(&mount.path), shown(root), shown(&group.name));
            let (from, defined) = (&mount.from, &group.defined);
            format!(
                "{from}: the script \"{path}\" lies outside of chroot={root} of the process group \"{name}\" ({defined}), \
                 whose processes cannot read it; put it there, or leave out chroot"
            )
        })
    };
    mounts.iter().filter_map(sentence).collect()
}

/// Process groups that something leads to and nothing defines; a sentence for each.
pub fn undefined_groups(global: &GlobalConfig, mounts: &[Mount]) -> Vec<String> {
    let of_mounts = mounts.iter().filter_map(|mount| Some((mount.from.clone(), mount.group.clone()?)));
    let of_directories = global.process_groups.iter().filter(|place| place.in_directory);
    let of_directories =
        of_directories.map(|place| (format!("WSGIProcessGroup {}", shown(&place.value)), place.value.clone()));
    let mut known: Vec<Text> = Vec::new();
    let mut sentences = Vec::new();
    for (from, name) in of_mounts.chain(of_directories).filter(|(_, name)| !name.is_empty() && is_fixed(name)) {
        // Each name once: what defines it is missing in one place.
        if global.group(&name).is_some() || known.contains(&name) {
            continue;
        }
        let names: Vec<String> = global.groups.iter().map(|group| shown(&group.name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint = did_you_mean(&shown(&name), &names).map_or_else(String::new, |hint| format!("; {hint}"));
        sentences.push(format!(
            "{from}: there is no process group \"{}\": no WSGIDaemonProcess defines it, and its requests fail{hint}",
            shown(&name)
        ));
        known.push(name);
    }
    sentences
}

/// What is odd about an alias that leads to a directory with these file names, as a clause.
pub fn oddity(path: &str, names: &[String]) -> Option<String> {
    let path = path.trim_end_matches('/');
    let scripts: Vec<_> = names.iter().filter(|name| name.ends_with(".wsgi") || name.ends_with(".py")).collect();
    let project = names.iter().any(|name| ["manage.py", "pyproject.toml", "setup.py"].contains(&name.as_str()));
    if !scripts.is_empty() && !project {
        return None;
    }
    let example = names.iter().find(|name| name.ends_with("wsgi.py") || name.ends_with(".wsgi"));
    let example = example.map_or("site.wsgi", String::as_str);
    Some(format!(
        "{path} is a directory: each file in it is a script of its own, at a URL with its name, and the URL of the \
         directory itself gets 403; if one application is meant, name its script, such as {path}/{example}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::{Place, ServerKey, TABLE, apply};

    fn read(lines: &[&str]) -> (GlobalConfig, Vec<Mount>) {
        let (mut global, mut server) = (GlobalConfig::default(), ServerConfig::default());
        for (at, text) in lines.iter().enumerate() {
            let in_directory = text.starts_with("  ");
            let (name, args) = text.trim().split_once(' ').unwrap();
            let row = TABLE.iter().find(|row| row.name_str() == name).unwrap();
            let line = u32::try_from(at + 1).unwrap();
            let place = Place { file: b"c", line, server: ServerKey::MAIN, in_directory, in_htaccess: false };
            let mut dir = crate::directive::DirConfig::default();
            apply(row.id, args.as_bytes(), &place, &mut global, &mut server, Some(&mut dir)).unwrap();
        }
        let all = mounts(&global, &[(ServerKey::MAIN, &server)]);
        (global, all)
    }

    fn mount_lines(lines: &[&str]) -> Vec<String> {
        let text = |mount: &Mount| {
            let group = mount.group.as_ref().map_or("?".to_owned(), |group| shown(group));
            format!("{} {} -> {group}", mount.from, shown(&mount.path))
        };
        read(lines).1.iter().map(text).collect()
    }

    #[test]
    fn scripts_are_listed_with_place_and_group() {
        assert_eq!(
            mount_lines(&[
                "WSGIDaemonProcess g",
                "WSGIProcessGroup g",
                "WSGIScriptAlias / /a",
                "WSGIScriptAlias /b /b process-group=h"
            ]),
            ["WSGIScriptAlias / at c:3 /a -> g", "WSGIScriptAlias /b at c:4 /b -> h"]
        );
        assert_eq!(mount_lines(&["WSGIScriptAlias / /a"]), ["WSGIScriptAlias / at c:1 /a -> "]);
        assert_eq!(
            mount_lines(&["WSGIScriptAlias / /a", "  WSGIProcessGroup g"]),
            ["WSGIScriptAlias / at c:1 /a -> ?"]
        );
        assert_eq!(mount_lines(&["WSGIScriptAlias / /a process-group=%{ENV:X}"]), ["WSGIScriptAlias / at c:1 /a -> ?"]);
        assert!(mount_lines(&["WSGIScriptAliasMatch ^/(.*) /srv/$1"]).is_empty());
        assert_eq!(
            mount_lines(&["WSGIImportScript /i process-group=g application-group=x"]),
            ["WSGIImportScript at c:1 /i -> g"]
        );
    }

    #[test]
    fn scripts_outside_of_a_root_are_mistakes() {
        let of = |lines: &[&str]| {
            let (global, mounts) = read(lines);
            outside_roots(&global, &mounts)
        };
        let define = "WSGIDaemonProcess g chroot=/jail";
        assert!(of(&[define, "WSGIScriptAlias / /jail/a process-group=g"]).is_empty());
        assert!(of(&[define, "WSGIScriptAlias / /b"]).is_empty());
        let found = of(&[define, "WSGIScriptAlias / /jailed/a process-group=g"]);
        assert!(
            found[0].starts_with("WSGIScriptAlias / at c:2: the script \"/jailed/a\" lies outside of chroot=/jail")
        );
    }

    #[test]
    fn a_group_that_nothing_defines_is_told_once_with_what_is_like_it() {
        let of = |lines: &[&str]| {
            let (global, mounts) = read(lines);
            undefined_groups(&global, &mounts)
        };
        let define = "WSGIDaemonProcess shop";
        let none = "no WSGIDaemonProcess defines it, and its requests fail";
        assert!(of(&[define, "WSGIScriptAlias / /a process-group=shop", "WSGIScriptAlias /b /b"]).is_empty());
        assert_eq!(
            of(&[define, "WSGIScriptAlias / /a process-group=shopp", "WSGIScriptAlias /b /b process-group=shopp"]),
            [format!("WSGIScriptAlias / at c:2: there is no process group \"shopp\": {none}; did you mean shop?")]
        );
        assert_eq!(
            of(&[define, "WSGIScriptAlias / /a", "  WSGIProcessGroup other"]),
            [format!("WSGIProcessGroup other: there is no process group \"other\": {none}")]
        );
        assert!(
            of(&["WSGIScriptAlias / /a", "  WSGIProcessGroup %{ENV:GROUP}", "  WSGIProcessGroup %{GLOBAL}"]).is_empty()
        );
    }

    #[test]
    fn a_directory_of_scripts_is_not_odd_and_a_project_is() {
        let of = |names: &[&str]| oddity("/srv/x/", &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["a.wsgi", "b.wsgi"]), None);
        assert_eq!(of(&["a.py"]), None);
        assert!(of(&["manage.py", "wsgi.py"]).unwrap().ends_with("such as /srv/x/wsgi.py"));
        assert!(of(&["index.html"]).unwrap().ends_with("such as /srv/x/site.wsgi"));
    }
}
