//! One directive of the configuration: check its place, read its arguments, store them.

use std::sync::Arc;

use super::config::{Deciding, DirConfig, GlobalConfig, Recorded, RequestConfig, Script, ServerConfig};
use super::error::Outcome;
use super::place::Place;
use super::table::{Id, Kind, Places, Row};
use super::{DirectiveError, Text, alias, daemon, layers, request, runtime, scripts};

/// Applies the directive `id` with the raw text `args` after its name. `dir` is the record of the directory-like
/// section that `place` is in; at server level it is not looked at.
pub fn apply(
    id: Id,
    args: &[u8],
    place: &Place<'_>,
    global: &mut GlobalConfig,
    server: &mut ServerConfig,
    dir: Option<&mut DirConfig>,
) -> Outcome {
    let row = id.row();
    check_place(row, place)?;
    match row.kind {
        Kind::Alias | Kind::AliasMatch => {
            server.aliases.push(Arc::new(alias::read(row, args, place, global.alias_count)?));
            global.alias_count += 1;
            Ok(())
        }
        Kind::ImportScript => scripts::import(row, args, place, global),
        Kind::DaemonProcess => daemon::define_process_group(args, place, global),
        Kind::Container => layers::open(row, args, place, global),
        _ if row.places.contains(Places::DIR) => {
            let values = match dir {
                Some(dir) if place.in_directory || place.in_htaccess => &mut dir.request,
                _ => &mut server.request,
            };
            request::set(row, args, place, values)?;
            record(id, place, values, global);
            Ok(())
        }
        _ => runtime::set(row, args, global),
    }
}

/// As [`apply`], for a `.htaccess` file, which httpd reads while it serves a request: nothing global changes.
pub fn apply_htaccess(id: Id, args: &[u8], place: &Place<'_>, dir: &mut DirConfig) -> Outcome {
    let row = id.row();
    let place = Place { in_htaccess: true, ..*place };
    check_place(row, &place)?;
    request::set(row, args, &place, &mut dir.request)
}

/// Whether the directive may stand at `place`. httpd checks most of it by itself, but it does not tell a
/// virtual host from the main server.
fn check_place(row: &Row, place: &Place<'_>) -> Outcome {
    let (allowed, section) = if place.in_htaccess {
        (row.places.in_htaccess(), ".htaccess files")
    } else if place.in_directory {
        (row.places.contains(Places::DIR), "<Directory>, <Location>, <Files> or <If> section")
    } else if place.in_vhost() {
        (row.places.contains(Places::VHOST), "<VirtualHost> section")
    } else {
        (row.places.contains(Places::SERVER), "server config")
    };
    if allowed { Ok(()) } else { Err(DirectiveError::Place { directive: row.name_str(), section }) }
}

/// Keeps what the routing must know before any request comes.
fn record(id: Id, place: &Place<'_>, values: &RequestConfig, global: &mut GlobalConfig) {
    let recorded = |value: &Option<Text>| {
        let (server, in_directory) = (place.server, place.in_directory);
        value.clone().map(|value| Recorded { value, server, in_directory })
    };
    match id {
        Id::ProcessGroup => global.process_groups.extend(recorded(&values.process_group)),
        Id::ApplicationGroup => global.application_groups.extend(recorded(&values.application_group)),
        Id::CallableObject => global.callables.extend(recorded(&values.callable_object)),
        Id::HandlerScript => {
            global.handler_scripts.extend(values.handler_scripts.last().map(|script| (place.server, script.clone())));
        }
        Id::AccessScript => decides(id, place, values.access_script.as_ref(), global),
        Id::AuthUserScript => decides(id, place, values.auth_user_script.as_ref(), global),
        Id::AuthGroupScript => decides(id, place, values.auth_group_script.as_ref(), global),
        Id::DispatchScript => decides(id, place, values.dispatch_script.as_ref(), global),
        _ => {}
    }
}

fn decides(id: Id, place: &Place<'_>, script: Option<&Arc<Script>>, global: &mut GlobalConfig) {
    global.deciding.extend(script.map(|script| Deciding {
        directive: id.row().name_str(),
        dispatches: id == Id::DispatchScript,
        script: Arc::clone(script),
        server: place.server,
    }));
}

#[cfg(test)]
mod tests {
    use super::super::place::ServerKey;
    use super::super::table::{Merge, TABLE};
    use super::super::values::HeadMapping;
    use super::*;
    use proptest::prelude::*;

    const MAIN: Place<'static> =
        Place { file: b"httpd.conf", line: 7, server: ServerKey::MAIN, in_directory: false, in_htaccess: false };
    const DIR: Place<'static> = Place { in_directory: true, ..MAIN };
    const VHOST: Place<'static> = Place { server: ServerKey(3), ..MAIN };
    const HTACCESS: Place<'static> = Place { in_htaccess: true, ..DIR };

    /// A configuration that is being read.
    #[derive(Default)]
    struct Reader {
        global: GlobalConfig,
        server: ServerConfig,
        dir: DirConfig,
    }

    impl Reader {
        fn read(&mut self, place: Place<'_>, line: &str) -> Result<(), String> {
            let (name, args) = line.split_once(' ').unwrap_or((line, ""));
            let row = TABLE.iter().find(|row| row.name_str() == name).expect("a directive of the table");
            let dir = Some(&mut self.dir);
            apply(row.id, args.as_bytes(), &place, &mut self.global, &mut self.server, dir)
                .map_err(|error| error.to_string())
        }
    }

    fn is_misplaced(result: &Result<(), String>) -> bool {
        result.as_ref().is_err_and(|error| error.contains("cannot occur within"))
    }

    fn error(place: Place<'_>, line: &str) -> String {
        Reader::default().read(place, line).expect_err(line)
    }

    /// Good arguments for each kind.
    fn sample(kind: Kind) -> &'static str {
        match kind {
            Kind::Switch | Kind::SwitchOrAuto => "On",
            Kind::Integer(..) | Kind::Seconds { .. } | Kind::Seed => "1",
            Kind::OneOf(words) => words[0],
            Kind::Word | Kind::Group | Kind::Groups | Kind::SearchPath => "name",
            Kind::Headers => "X-Real-IP",
            Kind::Subnets => "10.0.0.0/8",
            Kind::Script => "/srv/x.py application-group=one",
            Kind::Alias => "/ /srv/x.wsgi",
            Kind::AliasMatch => "^/ /srv/x.wsgi",
            Kind::HandlerScript => "md /srv/md.py",
            Kind::ImportScript => "/srv/x.py process-group=a application-group=b",
            Kind::DaemonProcess => "site",
            Kind::TelemetryService => "unix:/run/t.sock interval=0.5",
            Kind::TelemetryOptions => "+CaptureUserAgent",
            Kind::Container => "process-group=a>",
        }
    }

    #[test]
    fn every_directive_stores_something_and_needs_good_arguments() {
        for row in &TABLE {
            let mut reader = Reader::default();
            let line = format!("{} {}", row.name_str(), sample(row.kind));
            let place = if row.places.contains(Places::SERVER) { MAIN } else { DIR };
            let result = reader.read(place, &line);
            assert!(result.is_ok(), "{result:?}");
            let stored = reader.server != ServerConfig::default()
                || reader.dir != DirConfig::default()
                || reader.global != GlobalConfig::default();
            assert!(stored, "{line}");
            if row.kind != Kind::Groups {
                assert!(error(MAIN, row.name_str()).contains(row.name_str()));
            }
        }
    }

    #[test]
    fn every_value_of_a_directory_is_merged() {
        let in_dir = TABLE.iter().filter(|row| row.places.contains(Places::DIR));
        for row in in_dir {
            assert!(matches!(row.merge, Merge::Inner | Merge::InnerCollected | Merge::ByName), "{}", row.name_str());
            let mut reader = Reader::default();
            let result = reader.read(DIR, &format!("{} {}", row.name_str(), sample(row.kind)));
            assert!(result.is_ok(), "{result:?}");
            let (empty, full) = (DirConfig::default(), reader.dir);
            assert_ne!(full, empty, "{}", row.name_str());
            assert_eq!(reader.server, ServerConfig::default());
            assert_eq!(DirConfig::merge(&empty, &full), full);
            assert_eq!(DirConfig::merge(&full, &empty), full);
        }
    }

    #[test]
    fn the_place_is_checked_for_every_directive() {
        for row in &TABLE {
            let line = format!("{} {}", row.name_str(), sample(row.kind));
            for (place, set) in [(MAIN, Places::SERVER), (VHOST, Places::VHOST), (DIR, Places::DIR)] {
                let result = Reader::default().read(place, &line);
                assert_eq!(is_misplaced(&result), !row.places.contains(set), "{line}: {result:?}");
            }
            let mut dir = DirConfig::default();
            let result = apply_htaccess(row.id, sample(row.kind).as_bytes(), &MAIN, &mut dir);
            let result = result.map_err(|error| error.to_string());
            assert_eq!(is_misplaced(&result), !row.places.in_htaccess(), "{line}: {result:?}");
        }
        assert_eq!(error(VHOST, "WSGIPythonHome /srv"), "WSGIPythonHome cannot occur within <VirtualHost> section");
        assert_eq!(error(HTACCESS, "WSGIProcessGroup x"), "WSGIProcessGroup cannot occur within .htaccess files");
    }

    #[test]
    fn errors_say_what_was_given_and_what_is_allowed() {
        let cases = [
            ("WSGIScriptReloading maybe", "WSGIScriptReloading \"maybe\": must be On or Off"),
            (
                "WSGIScriptReloading On Off",
                "WSGIScriptReloading: takes one argument, but \"Off\" follows it; the syntax is WSGIScriptReloading On|Off",
            ),
            (
                "WSGIScriptAlias /",
                "WSGIScriptAlias: the path of the script is missing; the syntax is WSGIScriptAlias URL-prefix path \
                 [process-group=NAME] [application-group=NAME] [callable-object=NAME] [pass-authorization=On|Off]",
            ),
            ("WSGIScriptAlias app /x", "WSGIScriptAlias \"app\": must be a URL prefix that begins with /"),
            (
                "WSGIScriptAlias / /x threads=5",
                "WSGIScriptAlias: there is no option \"threads\"; the options are process-group, application-group, \
                 callable-object, pass-authorization",
            ),
            (
                "WSGIScriptAlias / /x Process_Group=a",
                "WSGIScriptAlias: there is no option \"Process_Group\"; did you mean process-group?",
            ),
            (
                "WSGIScriptAlias / /x process-group = a",
                "WSGIScriptAlias: \"process-group\" is not an option; options are written name=value without spaces \
                 around the equals sign",
            ),
            ("WSGIScriptAlias / /x process-group=", "WSGIScriptAlias process-group \"\": must not be empty"),
            ("WSGIPythonOptimize 3", "WSGIPythonOptimize \"3\": must be a whole number from 0 to 2"),
            ("WSGISwitchInterval 0", "WSGISwitchInterval \"0\": must be a number of seconds greater than 0"),
            (
                "WSGITrustedProxies 10.0.0.0/33",
                "WSGITrustedProxies \"10.0.0.0/33\": must be an IPv4 or IPv6 address, or a subnet such as 10.0.0.0/8 or fd00::/8",
            ),
            (
                "WSGITelemetryService udp:localhost:1",
                "WSGITelemetryService \"udp:localhost:1\": must be unix: and the absolute path of a socket",
            ),
            (
                "WSGITelemetryService unix:/x interval=0.4",
                "WSGITelemetryService interval \"0.4\": must be a number of seconds from 0.5",
            ),
            ("WSGISlowRequests -1", "WSGISlowRequests \"-1\": must be a number of seconds from 0"),
            (
                "WSGITelemetryOptions -All",
                "WSGITelemetryOptions \"-All\": must be CaptureUserAgent, which may have + or - before it, All or None",
            ),
            (
                "WSGITelemetryOptions +CaptureUserAgent All",
                "WSGITelemetryOptions: either all flags begin with + or -, or none does; the syntax is \
                 WSGITelemetryOptions [+|-]CaptureUserAgent|All|None",
            ),
            (
                "WSGIAcceptMutex file",
                "WSGIAcceptMutex \"file\": must be one of default, flock, fcntl, sysvsem, posixsem, pthread",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(error(MAIN, line), expected);
        }
        for line in [
            "WSGIImportScript /x process-group=a",
            "WSGIImportScript /x process-group=%{SERVER} application-group=b",
            "<WSGIInterpreterOptions process-group=a",
            "<WSGIInterpreterOptions process-group=a Process-Group=b>",
            "<WSGIInterpreterOptions threads=2>",
        ] {
            error(MAIN, line);
        }
    }

    #[test]
    fn an_alias_keeps_its_options() {
        let mut reader = Reader::default();
        let options = "process-group='my site' application-group=%{GLOBAL} callable-object=app pass-authorization=on";
        reader.read(VHOST, &format!("WSGIScriptAlias /a \"/srv/my app.wsgi\" {options}")).unwrap();
        reader.read(VHOST, "WSGIScriptAliasMatch ^/b(.*) /srv/$1").unwrap();
        let first = &reader.server.aliases[0];
        assert_eq!(&*first.path, b"/srv/my app.wsgi");
        assert_eq!(first.options.process_group.as_deref(), Some(&b"my site"[..]));
        assert_eq!(first.options.application_group.as_deref(), Some(&b""[..]));
        assert_eq!(first.options.callable_object.as_deref(), Some(&b"app"[..]));
        assert_eq!(first.options.pass_authorization, Some(true));
        assert_eq!((first.id, reader.server.aliases[1].id, first.server), (0, 1, ServerKey(3)));
        assert_eq!(first.defined.to_string(), "httpd.conf:7");
    }

    #[test]
    fn lists_add_up_in_one_scope_or_are_replaced() {
        let mut reader = Reader::default();
        for line in ["WSGITrustedProxies ::1 FE80::/10", "WSGITrustedProxies 10.0.0.1", "WSGIMapHEADToGET off"] {
            reader.read(DIR, line).unwrap();
        }
        assert_eq!(reader.dir.request.trusted_proxies.as_ref().unwrap().len(), 3);
        assert_eq!(reader.dir.request.map_head_to_get, Some(HeadMapping::Off));
        reader.read(DIR, "WSGIRestrictProcess a b").unwrap();
        reader.read(DIR, "WSGIRestrictProcess").unwrap();
        assert_eq!(reader.dir.request.restrict_process.as_ref().unwrap().len(), 0);
        reader.read(DIR, "WSGIRestrictProcess \"\" %{GLOBAL} a").unwrap();
        let groups: Vec<&[u8]> =
            reader.dir.request.restrict_process.as_ref().unwrap().iter().map(|name| &**name).collect();
        assert_eq!(groups, [&b""[..], b"", b"a"]);
    }

    #[test]
    fn a_container_holds_what_stands_in_it() {
        let mut reader = Reader::default();
        reader.read(MAIN, "WSGIPythonPath /base").unwrap();
        reader.read(MAIN, "<WSGIInterpreterOptions Process-Group=%{GLOBAL} application-group=\"a b\">").unwrap();
        assert!(reader.read(MAIN, "<WSGIInterpreterOptions >").is_err());
        reader.read(MAIN, "WSGIPythonPath /x:/y").unwrap();
        reader.read(MAIN, "WSGIPythonOptimize 0").unwrap();
        reader.global.close_interpreter_options();
        reader.read(MAIN, "WSGISwitchInterval 0.5").unwrap();
        let layer = &reader.global.layers[0];
        assert_eq!(layer.process_group.as_deref(), Some(&b""[..]));
        assert_eq!(layer.application_group.as_deref(), Some(&b"a b"[..]));
        assert_eq!(layer.options.python_path.as_ref().unwrap().len(), 2);
        assert_eq!((layer.options.switch_interval, reader.global.interpreter.switch_interval), (None, Some(0.5)));
        assert_eq!(reader.global.interpreter.python_path.as_ref().unwrap().len(), 1);
        assert_eq!(reader.global.runtime.python_optimize, Some(0));
        reader.read(MAIN, "<WSGIInterpreterOptions >").unwrap();
        assert_eq!(reader.global.layers[1].process_group, None);
    }

    #[test]
    fn containers_apply_by_group_and_the_more_specific_ones_later() {
        let mut reader = Reader::default();
        for selectors in [
            "process-group=g application-group=a",
            "process-group=g",
            "",
            "application-group=b",
            "process-group=%{GLOBAL}",
            "process-group=h application-group=c",
        ] {
            reader.read(MAIN, &format!("<WSGIInterpreterOptions {selectors}>")).unwrap();
            reader.global.close_interpreter_options();
        }
        let found = |group: &[u8]| -> Vec<usize> {
            let layers = reader.global.layers_of(group).into_iter();
            layers.map(|found| reader.global.layers.iter().position(|layer| layer == found).unwrap()).collect()
        };
        assert_eq!(found(b"g"), [2, 1, 3, 0]);
        assert_eq!(found(b""), [2, 3, 4]);
        assert!(reader.global.tells_interpreters_apart(b"h"));
    }

    #[test]
    fn threads_are_free_by_process_group() {
        let mut reader = Reader::default();
        reader.read(MAIN, "WSGIFreeThreading On").unwrap();
        for (selectors, value) in [
            ("process-group=g", "Off"),
            ("process-group=h application-group=a", "Off"),
            ("process-group=%{GLOBAL}", "Off"),
        ] {
            reader.read(MAIN, &format!("<WSGIInterpreterOptions {selectors}>")).unwrap();
            reader.read(MAIN, &format!("WSGIFreeThreading {value}")).unwrap();
            reader.global.close_interpreter_options();
        }
        assert_eq!(
            [&b"g"[..], b"h", b"x", b""].map(|group| reader.global.free_threading(group)),
            [false, true, true, false]
        );
        let ignored = reader.global.free_threading_ignored();
        assert_eq!(ignored.len(), 1);
        assert!(ignored[0].contains("is ignored beside application-group="), "{ignored:?}");
        assert!(!Reader::default().global.free_threading(b"g"));
    }

    #[test]
    fn a_virtual_host_has_its_own_before_the_main_servers() {
        let (mut main, mut vhost) = (Reader::default(), Reader::default());
        main.read(MAIN, "WSGIScriptAlias / /main.wsgi").unwrap();
        main.read(MAIN, "WSGIProcessGroup main").unwrap();
        main.read(MAIN, "WSGIHandlerScript md /main.py").unwrap();
        main.read(MAIN, "WSGIHandlerScript rst /main.py").unwrap();
        vhost.read(VHOST, "WSGIScriptAlias / /vhost.wsgi").unwrap();
        vhost.read(VHOST, "WSGIHandlerScript md /vhost.py").unwrap();
        let merged = ServerConfig::merge(&main.server, &vhost.server);
        let paths: Vec<_> = merged.aliases.iter().map(|alias| alias.path.to_vec()).collect();
        assert_eq!(paths, [b"/vhost.wsgi".to_vec(), b"/main.wsgi".to_vec()]);
        assert_eq!(merged.request.process_group.as_deref(), Some(&b"main"[..]));
        assert_eq!(&*merged.request.handler_script(b"md").unwrap().path, b"/vhost.py");
        assert_eq!(&*merged.request.handler_script(b"rst").unwrap().path, b"/main.py");
    }

    #[test]
    fn groups_and_callables_are_recorded_with_their_place() {
        let mut reader = Reader::default();
        reader.read(Place { in_directory: true, ..VHOST }, "WSGIProcessGroup %{GLOBAL}").unwrap();
        reader.read(MAIN, "WSGICallableObject app").unwrap();
        let (group, callable) = (&reader.global.process_groups[0], &reader.global.callables[0]);
        assert_eq!((&*group.value, group.server, group.in_directory), (&b""[..], ServerKey(3), true));
        assert_eq!((&*callable.value, callable.server, callable.in_directory), (&b"app"[..], ServerKey::MAIN, false));
    }

    proptest! {
        #[test]
        fn any_bytes_after_any_name_are_read_or_refused(index in 0..TABLE.len(), args: Vec<u8>, text in "[ -~]{0,40}") {
            for args in [&args[..], text.as_bytes()] {
                let mut reader = Reader::default();
                let row = &TABLE[index];
                let result = apply(row.id, args, &MAIN, &mut reader.global, &mut reader.server, None);
                if let Err(error) = result {
                    let sentence = error.to_string();
                    prop_assert!(sentence.starts_with(row.name_str()), "{}", sentence);
                    prop_assert!(!sentence.contains(char::is_control), "{}", sentence);
                }
            }
        }
    }
}
