//! The configuration in force: [`Reading`] while httpd reads it, [`Live`] from post_config on, when children inherit it
//! and only look. What each mode makes of it stands in `daemon` and `embedded`, above this file.
//!
//! Both belong to the configuration's pool; the statics hold their addresses and are cleared with them,
//! so that a reload begins with nothing.

use std::sync::atomic::{AtomicPtr, AtomicU32};
use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::advice::Advice;
use crate::directive::{GlobalConfig, ServerConfig, ServerKey};
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

/// What holds from post_config on.
#[derive(Debug)]
pub(crate) struct Live {
    /// What the directives said.
    pub(crate) reading: Reading,
    /// Every server's key, with what decides whether two are the same: `ServerName` and port.
    pub(crate) server_names: Vec<(ServerKey, Vec<u8>)>,
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

static READING: AtomicPtr<Mutex<Reading>> = AtomicPtr::new(std::ptr::null_mut());
static LIVE: AtomicPtr<Live> = AtomicPtr::new(std::ptr::null_mut());

/// The key under which `directive` and `route` know a server.
pub(crate) fn server_key(server: Server<'_>) -> ServerKey {
    if server.is_virtual() { ServerKey(server.raw() as usize) } else { ServerKey::MAIN }
}

/// Begins a configuration that belongs to `pconf`.
pub(crate) fn begin(pconf: Pool<'_>) {
    pconf.publish(&READING, Mutex::default());
}

/// The configuration that httpd is reading. Only one caller at a time may hold it: a directive that makes httpd read
/// other directives must give it back before.
pub(crate) fn reading() -> Option<MutexGuard<'static, Reading>> {
    try_lock(&READING)
}

fn try_lock<T>(place: &'static AtomicPtr<Mutex<T>>) -> Option<MutexGuard<'static, T>> {
    match crate::httpd::pool::shared(place)?.try_lock() {
        Ok(found) => Some(found),
        // The panic of a directive has ended httpd's start, or is about to.
        Err(TryLockError::Poisoned(found)) => Some(found.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Puts `live` in force; it belongs to `pconf`.
pub(crate) fn publish(pconf: Pool<'_>, live: Live) {
    pconf.publish(&LIVE, live);
}

/// What is in force.
pub(crate) fn get() -> Option<&'static Live> {
    crate::httpd::pool::shared(&LIVE)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn nobody_gets_what_somebody_changes() {
        static PLACE: AtomicPtr<Mutex<u32>> = AtomicPtr::new(std::ptr::null_mut());
        assert!(try_lock(&PLACE).is_none());
        PLACE.store(Box::leak(Box::default()), Ordering::Release);
        let mut first = try_lock(&PLACE).expect("free");
        *first = 7;
        assert!(try_lock(&PLACE).is_none());
        drop(first);
        assert_eq!(try_lock(&PLACE).as_deref(), Some(&7));
    }
}
