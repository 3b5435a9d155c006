//! Whether a request may use the process group that its settings name.

use wsgi_wire::messages::Message;

use super::Rejection;
use crate::directive::{Access, Deciding, GlobalConfig, ProcessGroup, Script, ServerKey, Text, shown};

/// Where a request is to run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target<'a> {
    /// In the child.
    Embedded,
    /// In a daemon process of this group; the number is its index in [`GlobalConfig::groups`].
    Daemon(usize, &'a ProcessGroup),
}

/// Admits a request of `server` to the (expanded) process group `name`. `same_name` says whether two servers have the
/// same `ServerName`.
pub fn admit<'a>(
    global: &'a GlobalConfig,
    name: &[u8],
    server: ServerKey,
    restrict: Option<&[Text]>,
    same_name: impl Fn(ServerKey, ServerKey) -> bool,
) -> Result<Target<'a>, Rejection> {
    if let Some(allowed) = restrict {
        if !allowed.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            let text = format!(
                "Daemon process called '{}' cannot be accessed by this WSGI application as not a member of allowed groups: {} is \
                 not in the list of WSGIRestrictProcess for this request",
                shown(name),
                described(name)
            );
            return Err(Rejection::new(500, Message::GroupRestricted, text));
        }
    }
    if name.is_empty() {
        return match global.runtime.restrict_embedded {
            Some(true) => Err(Rejection::new(
                500,
                Message::EmbeddedRestricted,
                "Embedded mode of mod_wsgi disabled by runtime configuration: WSGIRestrictEmbedded is On; select a process group \
                 by WSGIProcessGroup",
            )),
            _ => Ok(Target::Embedded),
        };
    }
    let Some(index) = global.groups.iter().position(|group| *group.name == *name) else {
        let (message, hint) = if global.groups.is_empty() {
            (Message::NoGroups, "no WSGIDaemonProcess defines any")
        } else {
            (Message::GroupUnknown, "no WSGIDaemonProcess defines it")
        };
        let text = format!("No WSGI daemon process called '{}' has been configured: {hint}", shown(name));
        return Err(Rejection::new(500, message, text));
    };
    let group = &global.groups[index];
    if !may_use(group, server, &same_name) {
        let text = format!(
            "Daemon process called '{}' cannot be accessed by this WSGI application: it belongs to another virtual host, as it \
             is defined at {}; define it outside of <VirtualHost> to use it from all",
            shown(name),
            group.defined
        );
        return Err(Rejection::new(500, Message::GroupOfOtherHost, text));
    }
    if group.threads == 0 {
        let line = format!(
            "{} has threads=0: its processes only run import scripts (WSGIImportScript) and serve no requests; \
             threads=1 or more at {}, or another process group",
            described(name),
            group.defined
        );
        return Err(Rejection::new(500, Message::Service, line));
    }
    Ok(Target::Daemon(index, group))
}

/// What is wrong with the process groups of scripts that decide; a sentence for each, with its place.
pub fn deciding_mistakes(global: &GlobalConfig, same_name: impl Fn(ServerKey, ServerKey) -> bool) -> Vec<String> {
    let in_groups = global.deciding.iter().filter(|deciding| !deciding.script.process_group.is_empty());
    let mistake = |deciding: &Deciding| {
        let refused = admit(global, &deciding.script.process_group, deciding.server, None, &same_name).err()?;
        Some(format!("{} at {}: {}", deciding.directive, deciding.script.defined, refused.text))
    };
    let mut found: Vec<_> = in_groups.filter_map(mistake).collect();
    found.dedup();
    found
}

/// Where a script that decides runs, for a request of `server`.
///
/// # Errors
/// When it may not run there.
pub fn admit_deciding<'a>(
    global: &'a GlobalConfig,
    script: &Script,
    server: ServerKey,
    same_name: impl Fn(ServerKey, ServerKey) -> bool,
) -> Result<Target<'a>, Rejection> {
    if !script.process_group.is_empty() {
        return admit(global, &script.process_group, server, None, same_name);
    }
    // The administrator's own scripts have Python in httpd's children all the same, as in mod_wsgi.
    if script.in_htaccess && global.runtime.restrict_embedded == Some(true) {
        let text = "WSGIRestrictEmbedded On lets no script of a .htaccess file run in httpd's children";
        return Err(Rejection::new(500, Message::HtaccessRestricted, text));
    }
    Ok(Target::Embedded)
}

/// Whether `server` may use `group`: it is the main server's, or of a virtual host of the same name.
pub(super) fn may_use(
    group: &ProcessGroup,
    server: ServerKey,
    same_name: impl Fn(ServerKey, ServerKey) -> bool,
) -> bool {
    match &group.access {
        Access::Everywhere => true,
        Access::Servers(servers) => servers.iter().any(|owner| *owner == server || same_name(*owner, server)),
    }
}

/// The group in words.
fn described(name: &[u8]) -> String {
    if name.is_empty() { "embedded mode (%{GLOBAL})".into() } else { format!("process group \"{}\"", shown(name)) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::directive::{Defined, Place, define_process_group};

    fn global() -> GlobalConfig {
        let mut global = GlobalConfig::default();
        for (line, server, name) in [(1, 0, "main"), (2, 1, "one")] {
            let place = Place { file: b"c", line, server: ServerKey(server), in_directory: false, in_htaccess: false };
            define_process_group(name.as_bytes(), &place, &mut global).unwrap();
        }
        global
    }

    fn refusal(name: &str, server: usize, restrict: Option<&[Text]>) -> Option<String> {
        let global = global();
        // Servers 1 and 11 have the same name.
        let same = |a: ServerKey, b: ServerKey| a.0 % 10 == b.0 % 10;
        let result = admit(&global, name.as_bytes(), ServerKey(server), restrict, same);
        result.err().map(|rejection| {
            assert_eq!(rejection.status, 500);
            rejection.text.into_owned()
        })
    }

    #[test]
    fn a_group_is_for_its_virtual_host_and_those_of_its_name() {
        for (name, server) in [("main", 0), ("main", 2), ("one", 1), ("one", 11), ("", 2)] {
            assert_eq!(refusal(name, server, None), None, "{name} {server}");
        }
        assert!(refusal("one", 2, None).unwrap().contains("belongs to another virtual host, as it is defined at c:2"));
        assert!(refusal("one", 0, None).is_some());
        assert_eq!(
            refusal("two", 0, None).unwrap(),
            "No WSGI daemon process called 'two' has been configured: no WSGIDaemonProcess defines it"
        );
    }

    #[test]
    fn a_restriction_holds_for_embedded_mode_too() {
        let list = [Text::from(&b"MAIN"[..])];
        assert_eq!(refusal("main", 0, Some(&list)), None);
        assert!(refusal("", 0, Some(&list)).unwrap().contains(": embedded mode (%{GLOBAL}) is not in the list"));
        assert_eq!(refusal("", 0, Some(&[Text::from(&b""[..])])), None);
        assert!(refusal("main", 0, Some(&[])).is_some());
    }

    #[test]
    fn a_group_without_request_threads_serves_no_request() {
        let mut global = global();
        let place = Place { file: b"c", line: 3, server: ServerKey(0), in_directory: false, in_htaccess: false };
        define_process_group(b"jobs threads=0", &place, &mut global).unwrap();
        let rejection = admit(&global, b"jobs", ServerKey::MAIN, None, |_, _| false).unwrap_err();
        assert_eq!(rejection.status, 500);
        assert!(rejection.text.contains("process group \"jobs\" has threads=0"), "{}", rejection.text);
    }

    #[test]
    fn embedded_mode_can_be_switched_off() {
        let mut global = global();
        global.runtime.restrict_embedded = Some(true);
        assert!(admit(&global, b"", ServerKey::MAIN, None, |_, _| false).is_err());
        assert!(admit(&global, b"main", ServerKey::MAIN, None, |_, _| false).is_ok());
    }

    #[test]
    fn a_script_that_decides_needs_its_group_and_htaccess_a_child_with_python() {
        let mut global = global();
        let script = |group: &str, in_htaccess| {
            Arc::new(Script {
                path: Text::from(&b"/srv/auth.py"[..]),
                process_group: Text::from(group.as_bytes()),
                application_group: Text::default(),
                defined: Defined { file: Text::from(&b"c"[..]), line: 9 },
                in_htaccess,
            })
        };
        let deciding = |group, server| Deciding {
            directive: "WSGIAccessScript",
            dispatches: false,
            script: script(group, false),
            server: ServerKey(server),
        };
        global.deciding = vec![deciding("", 0), deciding("main", 2), deciding("one", 1), deciding("one", 2)];
        let mistakes = deciding_mistakes(&global, |_, _| false);
        assert_eq!(mistakes.len(), 1);
        let mistake = "WSGIAccessScript at c:9: Daemon process called 'one' cannot be accessed by this WSGI application: it \
                       belongs to another virtual host";
        assert!(mistakes[0].starts_with(mistake), "{mistakes:?}");
        let admit = |global: &GlobalConfig, script: &Script| {
            admit_deciding(global, script, ServerKey::MAIN, |_, _| false).map(|target| target == Target::Embedded)
        };
        assert_eq!(admit(&global, &script("", true)), Ok(true));
        assert_eq!(admit(&global, &script("main", false)), Ok(false));
        global.runtime.restrict_embedded = Some(true);
        assert_eq!(admit(&global, &script("", false)), Ok(true));
        assert!(admit(&global, &script("", true)).is_err());
        assert!(admit(&global, &script("none", false)).is_err());
    }
}
