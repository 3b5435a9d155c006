//! The process groups in force, as this child uses them: `startup` puts them in force, `handler` picks one for a
//! request, and the rest of `daemon` serves it there.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicPtr;

use wsgi_sys::scoreboard::Scoreboard;

use super::connections::Connections;
use super::spool::Limits;
use crate::httpd::pool::{self, Pool};

/// A process group as children use it.
#[derive(Debug)]
pub(crate) struct Group {
    /// The number by which the supervisor knows it.
    pub(crate) id: u64,
    /// Its processes.
    pub(crate) board: Arc<Scoreboard>,
    /// Idle connections of this child.
    pub(crate) connections: Arc<Connections>,
    /// How much of a response may be kept for a slow client, and where.
    pub(crate) limits: Arc<Limits>,
    /// The script that runs in the main interpreter.
    pub(crate) main_script: Option<Vec<u8>>,
    /// Root directory of its processes.
    pub(crate) root: Option<Vec<u8>>,
    /// `script-user` as a number.
    pub(crate) script_user: Option<u32>,
    /// `script-group` as a number.
    pub(crate) script_group: Option<u32>,
}

/// All process groups.
#[derive(Debug)]
pub(crate) struct Groups {
    /// One for each `WSGIDaemonProcess`, in their order.
    pub(crate) all: Vec<Group>,
    /// The socket on which children send connections for daemon processes. `None` if there is no group.
    pub(crate) dispatch: Option<Arc<OwnedFd>>,
}

static GROUPS: AtomicPtr<Groups> = AtomicPtr::new(std::ptr::null_mut());

/// Puts `groups` in force; they belong to `pconf`.
pub(crate) fn publish(pconf: Pool<'_>, groups: Groups) {
    pconf.publish(&GROUPS, groups);
}

/// What is in force.
pub(crate) fn groups() -> Option<&'static Groups> {
    pool::shared(&GROUPS)
}
