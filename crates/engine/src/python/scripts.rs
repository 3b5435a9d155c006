//! The scripts that an interpreter has loaded as modules, and those that could not be loaded. The floor above decides
//! what is loaded when.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wsgi_wire::messages::LoadFailure;

use crate::python::py::{Any, Gil, Owned, Stored};

/// The scripts of an interpreter. The lock is held for moments, always by a thread that is attached or
/// waits; no thread takes the GIL while it holds the lock.
#[derive(Default)]
pub struct Scripts {
    all: Mutex<HashMap<Vec<u8>, Slot>>,
    loaded: Condvar,
}

/// What is known of a script.
#[derive(Default)]
pub struct Slot {
    /// The script as a module, once it is loaded.
    module: Option<Stored>,
    /// It was handed on by another process, and no request has asked for it here.
    unasked: bool,
    /// It was loaded before any request came for it.
    fresh: Option<Fresh>,
    /// It could not be loaded when the process started, and is not tried again in this process.
    broken: Option<Arc<Broken>>,
    /// A thread executes the script; others wait for it.
    loading: bool,
}

/// A script that was loaded before the first request for it, which takes it as if it had loaded it itself: the script is not
/// asked whether it must be loaded again. If it were, one that always wants that would never answer a request.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// Modification time of the file before it was read.
    pub mtime_us: Option<i64>,
}

/// A script that could not be loaded when its process started.
pub struct Broken {
    /// How it failed.
    pub failure: LoadFailure,
    /// The first and last line of what was logged when the process tried it, for the log of each request that fails for
    /// it.
    pub brief: String,
    /// When it was tried, on the monotonic clock.
    pub tried: Duration,
    /// Modification time of the script before it was read, if it was there.
    pub mtime_us: Option<i64>,
    /// A request has found it changed since.
    pub changed: AtomicBool,
}

/// What there is of a script.
pub enum Found {
    Loaded {
        module: Owned,
        /// The script was handed on and this is its first request.
        is_first: bool,
        /// This is the first request since it was loaded.
        fresh: Option<Fresh>,
    },
    Broken(Arc<Broken>),
    /// Nothing: the calling thread must load the script, and then call `put`.
    Claimed,
}

impl Slot {
    /// The script is loaded; `fresh` if no request has made it.
    pub fn loaded(module: Stored, fresh: Option<Fresh>) -> Slot {
        Slot { module: Some(module), fresh, ..Slot::default() }
    }

    /// The script is not tried again in this process.
    pub fn broken(why: Broken) -> Slot {
        Slot { broken: Some(Arc::new(why)), ..Slot::default() }
    }

    fn found(&mut self, gil: Gil, reloads: bool) -> Option<Found> {
        let module = self.module.as_ref().map(|module| module.get(gil).new_ref());
        let loaded = module.map(|module| Found::Loaded {
            module,
            is_first: std::mem::take(&mut self.unasked),
            fresh: if reloads { self.fresh.take() } else { None },
        });
        loaded.or_else(|| self.broken.clone().map(Found::Broken))
    }
}

impl Scripts {
    /// What there is of a script. Waits while another thread loads it. `reloads`: for a request that has a changed script
    /// loaded again.
    pub fn take_or_claim(&self, gil: Gil, path: &[u8], reloads: bool) -> Found {
        loop {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(slot) = all.get_mut(path) {
                if let Some(found) = slot.found(gil, reloads) {
                    return found;
                }
                if !slot.loading {
                    slot.loading = true;
                    return Found::Claimed;
                }
            } else {
                all.insert(path.to_vec(), Slot { loading: true, ..Slot::default() });
                return Found::Claimed;
            }
            drop(all);
            gil.detach(|| {
                let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
                let is_loading = |all: &mut HashMap<Vec<u8>, Slot>| all.get(path).is_some_and(|slot| slot.loading);
                drop(self.loaded.wait_while(all, is_loading).unwrap_or_else(PoisonError::into_inner));
            });
        }
    }

    /// Ends the claim of `take_or_claim`.
    pub fn put(&self, path: &[u8], slot: Slot) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(path.to_vec(), slot);
        self.loaded.notify_all();
    }

    /// Forgets the module, if it is still `module`.
    pub fn forget(&self, gil: Gil, path: &[u8], module: &Any) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = all.get_mut(path);
        let is_same =
            |slot: &Slot| slot.module.as_ref().is_some_and(|known| known.get(gil).as_ptr() == module.as_ptr());
        let old = slot.filter(|slot| is_same(slot)).and_then(|slot| slot.module.take());
        drop(all);
        // Dropping the last reference may run code of the application, so the lock is free by now.
        drop(old.map(|old| old.release(gil)));
    }

    /// Notes whether another process had the script; false when it is not loaded.
    pub fn note_origin(&self, path: &[u8], handed: bool) -> bool {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = all.get_mut(path).filter(|slot| slot.module.is_some());
        slot.map(|slot| slot.unasked = handed).is_some()
    }
}
