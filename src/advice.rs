//! Lines for the administrator that say which directive changes what just happened, each once in a child.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::environ::Withheld;
use crate::httpd::log::Level;
use crate::httpd::request::Request;

/// What has been said in this child.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    off: AtomicBool,
    authenticated: AtomicBool,
}

impl Advice {
    /// The request has an `Authorization` header that the application does not see.
    pub(crate) fn withheld(&self, request: Request<'_>, why: Withheld) {
        let (said, why) = match why {
            Withheld::ByDirective => (&self.off, "WSGIPassAuthorization (or pass-authorization=) is Off here"),
            Withheld::ForHttpd => (&self.authenticated, "httpd itself authenticates users here"),
        };
        if !said.swap(true, Ordering::Relaxed) {
            let text = format!(
                "the application does not see the Authorization header, because {why}; WSGIPassAuthorization On \
                 passes it (said once in each child)"
            );
            request.log(Level::Info, &text);
        }
    }
}
