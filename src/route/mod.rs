//! Which script, group and settings a request gets, and whether it may have them.
//!
//! Pure functions over the records of [`crate::directive`] and small structs of facts that the glue fills
//! in. The handler calls them in this order: [`match_alias`] when the URL is translated; then [`check_request`],
//! [`Settings::of`], [`expand_group`] and [`expand_callable`], [`admit`], and [`check_owner`] where the group wants it.
//! [`only_scripts`] and [`preloads`] are asked once, when the configuration has been read.

#![forbid(unsafe_code)]

mod alias;
mod check;
mod denied;
mod expand;
mod group_scripts;
mod mounts;
mod owner;
mod permit;
mod settings;
mod sharing;
mod targets;
mod warmup;

use std::borrow::Cow;

use wsgi_wire::messages::Message;

pub use alias::{AliasMatch, Captures, MAX_CAPTURES, match_alias, match_prefix, substitute};
pub use check::{AcceptPathInfo, BodyLength, FileKind, HandlerFacts, check_request};
pub use denied::{ConfigLine, denied};
pub use expand::{Facts, Lookup, expand_auth_group, expand_callable, expand_group};
pub use group_scripts::{OnlyScript, Preload, Servers, only_scripts, preloads};
pub use mounts::{Mount, mounts, oddity, outside_roots, undefined_groups};
pub use owner::{FileOwner, Ownership, check_owner};
pub use permit::{Target, admit, admit_deciding, deciding_mistakes};
pub use settings::Settings;
pub use sharing::{sharing, uses_sub_interpreters};
pub use targets::{RouteTarget, targets};
pub use warmup::warmup_target;

/// A request that is refused: the client gets the status, the log gets the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The HTTP status.
    pub status: u16,
    /// The number of the line.
    pub message: Message,
    /// What to log.
    pub text: Cow<'static, str>,
}

impl Rejection {
    /// A refusal with this status and text.
    pub(crate) fn new(status: u16, message: Message, text: impl Into<Cow<'static, str>>) -> Self {
        Rejection { status, message, text: text.into() }
    }
}
