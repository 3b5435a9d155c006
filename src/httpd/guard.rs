//! The boundary that no panic crosses. Every entry from C (`hooks`, `embedded`) runs inside [`guard`].

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    /// Where the last panic of this thread happened; set by the panic hook, which prints nothing.
    static LOCATION: Cell<Option<(&'static str, u32)>> = const { Cell::new(None) };
}

/// Runs `body`. If it panics, calls `report` with one line and returns `on_panic`.
pub(crate) fn guard<T>(on_panic: T, report: impl FnOnce(&str), body: impl FnOnce() -> T) -> T {
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        let place = LOCATION.take().map_or(String::new(), |(file, line)| format!(" at {file}:{line}"));
        let text = format!("internal error{place}: {}; the request or directive is given up", message(&*payload));
        // Reporting may panic too, and so may dropping what was thrown.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| report(&text)));
        std::mem::forget(payload);
        on_panic
    })
}

/// Replaces Rust's panic hook, which would print a backtrace into the error log. To be called at each load.
pub(crate) fn install_panic_hook() {
    panic::set_hook(Box::new(|info| {
        if let Some(place) = info.location() {
            // The file name is a literal of ours; it is copied by leaking a panic's few bytes.
            LOCATION.set(Some((Box::leak(place.file().to_owned().into_boxed_str()), place.line())));
        }
    }));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic without a message")
}
