//! The configuration in force: while it is read ([`Reading`]), and from post_config on ([`Live`]), when
//! children inherit it and only look.
//!
//! Both belong to the configuration's pool; the statics hold their addresses and are cleared with them,
//! so that a reload begins with nothing.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use wsgi_sys::scoreboard::Scoreboard;

use crate::advice::Advice;
use crate::daemon::{Connections, Limits};
use crate::directive::{GlobalConfig, ServerConfig, ServerKey};
use crate::embedded::Embedded;
use crate::httpd::pool::Pool;
use crate::httpd::regex::Regex;
use crate::httpd::server::Server;

/// What directives fill.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// All servers together.
    pub(crate) global: GlobalConfig,
    /// Compiled `WSGIScriptAliasMatch` expressions with the alias's id.
    pub(crate) regexes: Vec<(usize, Regex)>,
}

impl Reading {
    /// Compiles the expression of the alias that was just stored in `server`.
    ///
    /// # Errors
    /// The sentence for the administrator.
    pub(crate) fn compile_last(&mut self, server: &ServerConfig, pool: Pool<'_>) -> Result<(), String> {
        let Some(alias) = server.aliases.last() else { return Ok(()) };
        let regex = Regex::compile(pool, &alias.pattern).ok_or_else(|| {
            let pattern = String::from_utf8_lossy(&alias.pattern);
            format!("WSGIScriptAliasMatch \"{pattern}\": must be a valid regular expression")
        })?;
        self.regexes.push((alias.id, regex));
        Ok(())
    }
}

/// A process group as children use it.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its number towards the supervisor.
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

/// What holds from post_config on.
#[derive(Debug)]
pub(crate) struct Live {
    /// What the directives said.
    pub(crate) reading: Reading,
    /// One for each of `reading.global.groups`.
    pub(crate) groups: Vec<Group>,
    /// Where children send connections for daemon processes.
    pub(crate) dispatch: Option<Arc<OwnedFd>>,
    /// Every server's key, with what decides whether two are the same: `ServerName` and port.
    pub(crate) server_names: Vec<(ServerKey, Vec<u8>)>,
    /// Python in this child.
    pub(crate) embedded: Embedded,
    /// This process; set in each child.
    pub(crate) pid: AtomicU32,
    /// What this child has told the administrator.
    pub(crate) advice: Advice,
}

impl Live {
    /// Whether two servers have the same `ServerName`.
    pub(crate) fn same_name(&self, one: ServerKey, other: ServerKey) -> bool {
        let name = |key| self.server_names.iter().find(|(server, _)| *server == key).map(|(_, name)| name);
        one == other || name(one).is_some_and(|found| Some(found) == name(other))
    }

    /// The compiled expression of an alias.
    pub(crate) fn regex(&self, alias: usize) -> Option<&Regex> {
        self.reading.regexes.iter().find(|(id, _)| *id == alias).map(|(_, regex)| regex)
    }
}

static READING: AtomicPtr<Reading> = AtomicPtr::new(std::ptr::null_mut());
static LIVE: AtomicPtr<Live> = AtomicPtr::new(std::ptr::null_mut());

/// The key under which `directive` and `route` know a server.
pub(crate) fn server_key(server: Server<'_>) -> ServerKey {
    if server.is_virtual() { ServerKey(server.raw() as usize) } else { ServerKey::MAIN }
}

/// Clears the statics when the configuration's pool is cleared.
struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        READING.store(std::ptr::null_mut(), Ordering::Release);
        LIVE.store(std::ptr::null_mut(), Ordering::Release);
    }
}

/// Begins a configuration that belongs to `pconf`.
pub(crate) fn begin(pconf: Pool<'_>) {
    READING.store(pconf.own(Reading::default()), Ordering::Release);
    // Registered after the record, so it runs before the record is dropped.
    pconf.own(Forget);
}

/// The configuration that is being read.
pub(crate) fn reading() -> Option<&'static mut Reading> {
    crate::httpd::pool::exclusive(&READING)
}

/// Puts `live` in force; it belongs to `pconf`.
pub(crate) fn publish(pconf: Pool<'_>, live: Live) {
    LIVE.store(pconf.own(live), Ordering::Release);
    pconf.own(Forget);
}

/// What is in force.
pub(crate) fn get() -> Option<&'static Live> {
    crate::httpd::pool::shared(&LIVE)
}
