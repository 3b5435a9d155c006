//! What a process shows of itself and of its surroundings: title and locale.

use std::ffi::CString;
use std::ptr;

/// Shows `title` in place of the command line. Cut to the room that the command line takes.
///
/// # Safety
/// Nothing in this process reads its command line where it lies any more: the start of the program has copied it, as
/// Python's does.
pub unsafe fn set_title(title: &str) {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // Fields are counted behind the last ')', which ends the second one (the name).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<usize>().ok());
    let (Some(start), Some(end)) = (field(48), field(49)) else { return };
    if start == 0 || end <= start + 1 {
        return;
    }
    let room = end - start;
    let shown = title.len().min(room - 1);
    let area = ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the kernel says that our argument strings lie there; they are writable, and nobody else reads them (the contract).
    unsafe { ptr::write_bytes(area, 0, room) };
    // SAFETY: as above, and `shown` is less than the room.
    unsafe { ptr::copy_nonoverlapping(title.as_ptr(), area, shown) };
}

/// Sets every category of the locale. False: the system does not have it, and nothing has changed.
///
/// # Safety
/// No other thread of this process uses the locale meanwhile (setlocale(3)).
pub unsafe fn set_locale(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: a C string that lives during the call; no other thread uses the locale (the contract).
    !unsafe { libc::setlocale(libc::LC_ALL, name.as_ptr()) }.is_null()
}
