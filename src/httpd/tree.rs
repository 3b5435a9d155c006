//! httpd's configuration as it was read: the lines of its tree, for the doctor.

use super::bindings;
use super::bytes;

/// A line of the configuration.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "httpd's record has none")]
pub(crate) struct Node<'c>(&'c bindings::ap_directive_t);

impl<'c> Node<'c> {
    /// Its name; that of a section begins with `<`.
    pub(crate) fn name(self) -> &'c [u8] {
        // SAFETY: a C string of the tree, or NULL.
        unsafe { bytes(self.0.directive) }
    }

    /// Its arguments; those of a section end with `>`.
    pub(crate) fn args(self) -> &'c [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.0.args) }
    }

    /// File and line.
    pub(crate) fn place(self) -> (&'c [u8], i32) {
        // SAFETY: as above.
        (unsafe { bytes(self.0.filename) }, self.0.line_num)
    }

    /// The lines of a section.
    pub(crate) fn inside(self) -> impl Iterator<Item = Node<'c>> {
        // SAFETY: a node of the same tree, or NULL.
        unsafe { following(self.0.first_child) }
    }
}

/// Hands the lines at the top of the configuration to `look`. To be called while httpd tests its configuration: the tree
/// is that of the configuration that was read last.
pub(crate) fn top<T>(look: impl FnOnce(&mut dyn Iterator<Item = Node<'_>>) -> T) -> T {
    // SAFETY: httpd's own variable, which only the main thread changes, between two configurations.
    let mut nodes = unsafe { following(bindings::ap_conftree) };
    look(&mut nodes)
}

/// # Safety
/// `first` is NULL or a node of a tree that nobody changes for `'c`.
unsafe fn following<'c>(first: *const bindings::ap_directive_t) -> impl Iterator<Item = Node<'c>> {
    // SAFETY: the caller's promise holds for each node of the list.
    let node = |raw: *const bindings::ap_directive_t| unsafe { raw.as_ref() };
    std::iter::successors(node(first), move |last| node(last.next)).map(Node)
}
