//! Directives and options of `WSGIDaemonProcess` that older versions of mod_wsgi had and 6.1 does not. A configuration may
//! still have them: they are left out, with one warning that says what to write in their place. Callers: the hooks, `apply`,
//! `daemon`, and the page of directives.

use std::ffi::CStr;

use super::place::Defined;
use super::table::Places;
use super::values::shown;

/// A directive that is gone.
#[derive(Clone, Copy, Debug)]
pub struct Dropped {
    /// Its name.
    pub name: &'static CStr,
    /// Where httpd is to accept it.
    pub places: Places,
    /// The version of mod_wsgi in which it was gone.
    pub gone: &'static str,
    /// What holds without it, and what to write in its place, as a sentence's end.
    pub instead: &'static str,
}

/// An option of `WSGIDaemonProcess` that is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct DroppedOption {
    /// Its name.
    pub(super) name: &'static str,
    /// As in [`Dropped`].
    pub(super) gone: &'static str,
    /// As in [`Dropped`].
    pub(super) instead: &'static str,
}

/// Main server and virtual hosts.
const SERVERS: Places = Places::SERVER.and(Places::VHOST);
/// Everywhere.
const ANYWHERE: Places = SERVERS.and(Places::DIR).and(Places::FILE_INFO);

/// For New Relic's agent, which mod_wsgi used to start.
const AGENT: &str = "start the agent in the WSGI script, before it imports anything else: import newrelic.agent; newrelic.agent.initialize(FILE, ENVIRONMENT)";

/// The directives that are gone.
pub static DROPPED: [Dropped; 7] = [
    Dropped {
        name: c"WSGILazyInitialization",
        places: SERVERS,
        gone: "6.0",
        instead: "httpd's parent never runs Python, as if it were On; remove the line",
    },
    Dropped { name: c"WSGINewRelicConfigFile", places: SERVERS, gone: "6.0", instead: AGENT },
    Dropped { name: c"WSGINewRelicEnvironment", places: SERVERS, gone: "6.0", instead: AGENT },
    Dropped {
        name: c"WSGIPy3kWarningFlag",
        places: SERVERS,
        gone: "6.0",
        instead: "only Python 2 had such warnings; remove the line, or choose warnings with WSGIPythonWarnings",
    },
    Dropped {
        name: c"WSGIReloadMechanism",
        places: ANYWHERE,
        gone: "3.0",
        instead: "a daemon process is replaced when its script has changed, and a child of httpd loads the script again; remove the \
                  line, or switch that off with WSGIScriptReloading Off",
    },
    Dropped {
        name: c"WSGIPythonExecutable",
        places: SERVERS,
        gone: "2.0",
        instead: "name the directory of the Python installation with WSGIPythonHome, or the interpreter of a process group with \
                  python= of WSGIDaemonProcess",
    },
    Dropped {
        name: c"WSGIOutputBuffering",
        places: ANYWHERE,
        gone: "2.0",
        instead: "each block of a response that an application yields is sent when it comes; remove the line, and join small blocks \
                  in the application",
    },
];

/// The options of `WSGIDaemonProcess` that are gone.
pub(super) static DROPPED_OPTIONS: [DroppedOption; 3] = [
    DroppedOption { name: "newrelic-config-file", gone: "6.0", instead: AGENT },
    DroppedOption { name: "newrelic-environment", gone: "6.0", instead: AGENT },
    DroppedOption {
        name: "proxy-buffer-size",
        gone: "4.4.7",
        instead: "its name is response-buffer-size now, and its least value 65536",
    },
];

impl Dropped {
    /// The name as text.
    pub fn name_str(&self) -> &'static str {
        self.name.to_str().expect("the names in the table are ASCII")
    }

    /// The warning about the directive at `place`.
    pub fn warning(&self, place: &Defined) -> String {
        left_out(self.name_str(), place, self.gone, self.instead)
    }
}

impl DroppedOption {
    /// The warning about the option in the definition of the process group `group` at `place`.
    pub(super) fn warning(&self, group: &[u8], place: &Defined) -> String {
        left_out(&format!("WSGIDaemonProcess {} {}=", shown(group), self.name), place, self.gone, self.instead)
    }
}

fn left_out(what: &str, place: &Defined, gone: &str, instead: &str) -> String {
    format!("{what} at {place} is left out, because mod_wsgi {gone} and later versions do not have it; {instead}")
}

#[cfg(test)]
mod tests {
    use super::super::options::OPTIONS;
    use super::super::table::TABLE;
    use super::*;

    #[test]
    fn what_is_gone_is_not_there() {
        for dropped in &DROPPED {
            assert!(TABLE.iter().all(|row| row.name != dropped.name), "{}", dropped.name_str());
            assert!(dropped.places.contains(Places::SERVER));
        }
        for dropped in &DROPPED_OPTIONS {
            assert!(OPTIONS.iter().all(|row| row.name != dropped.name), "{}", dropped.name);
        }
    }

    #[test]
    fn the_warning_names_place_version_and_the_way_out() {
        let place = Defined { file: b"/etc/site.conf"[..].into(), line: 7 };
        assert_eq!(
            DROPPED[0].warning(&place),
            "WSGILazyInitialization at /etc/site.conf:7 is left out, because mod_wsgi 6.0 and later versions do not have it; \
             httpd's parent never runs Python, as if it were On; remove the line"
        );
        assert_eq!(
            DROPPED_OPTIONS[2].warning(b"shop", &place),
            "WSGIDaemonProcess shop proxy-buffer-size= at /etc/site.conf:7 is left out, because mod_wsgi 4.4.7 and later versions \
             do not have it; its name is response-buffer-size now, and its least value 65536"
        );
    }
}
