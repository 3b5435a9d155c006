//! Lines for the administrator that say which directive changes what just happened, each once in a child.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use wsgi_wire::messages::Message;

use crate::directive::shown;

use crate::environ::Withheld;
use crate::httpd::log::Level;
use crate::httpd::request::Request;
use crate::httpd::server::Server;

/// What advice has been given in this child.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    off: AtomicBool,
    authenticated: AtomicBool,
    forbidden: Mutex<HashSet<Vec<u8>>>,
    dropped: Mutex<HashSet<String>>,
}

/// For how many directories a child says that access to them is missing.
const MAX_FORBIDDEN: usize = 100;
/// For how many lines of `.htaccess` files a child says that they do nothing.
const MAX_DROPPED: usize = 100;

impl Advice {
    /// The request has an `Authorization` header that the application does not see.
    pub(crate) fn withheld(&self, request: Request<'_>, why: Withheld) {
        let (given, why) = match why {
            Withheld::ByDirective => (&self.off, "WSGIPassAuthorization (or pass-authorization=) is Off here"),
            Withheld::ForHttpd => (&self.authenticated, "httpd itself authenticates users here"),
        };
        if !given.swap(true, Ordering::Relaxed) {
            let text = format!(
                "the application does not see the Authorization header, because {why}; WSGIPassAuthorization On \
                 passes it (said once in each child)"
            );
            request.log(Level::Info, &text);
        }
    }

    /// A `.htaccess` file has a directive that is left out, as the sentence `warning` says.
    pub(crate) fn dropped(&self, server: Server<'_>, warning: String) {
        let mut given = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() < MAX_DROPPED && !given.contains(&warning) {
            server.report(Message::LeftOut, &format!("{warning} (said once in each child)"));
            given.insert(warning);
        }
    }

    /// httpd refused a request for this script before any handler saw it.
    pub(crate) fn forbidden(&self, request: Request<'_>, script: &[u8]) {
        let Some(directory) = directory_of(script) else { return };
        let mut given = self.forbidden.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() < MAX_FORBIDDEN && given.insert(directory.to_vec()) {
            let (script, directory) = (shown(script), shown(directory));
            let text = format!(
                "httpd refused a request for the script \"{script}\" before the application saw it; if it is no \
                 Require of yours that did, the directory is not open yet, which takes these three lines: \
                 <Directory \"{directory}\"> | Require all granted | </Directory> (said once in each child)"
            );
            request.report(Message::Forbidden, &text);
        }
    }
}

/// The directory of a file, without its last slash.
fn directory_of(file: &[u8]) -> Option<&[u8]> {
    let slash = file.iter().rposition(|byte| *byte == b'/')?;
    Some(&file[..slash.max(1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lies_in_a_directory() {
        for (file, directory) in [("/srv/a/x.wsgi", Some("/srv/a")), ("/x.wsgi", Some("/")), ("x", None)] {
            assert_eq!(directory_of(file.as_bytes()), directory.map(str::as_bytes), "{file}");
        }
    }
}
