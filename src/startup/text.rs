//! Text of the configuration as messages and other processes want it.

/// The value of `what`, which the interpreter or the supervisor gets as UTF-8.
///
/// # Errors
/// A sentence that shows the value.
pub(super) fn utf8(value: &[u8], what: &str) -> Result<String, String> {
    String::from_utf8(value.to_vec()).map_err(|_| format!("{what} \"{}\": must be UTF-8", shown(value)))
}

/// The value for a message.
pub(super) fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
