//! Regular expressions by httpd's own engine, so that patterns mean what they mean in other directives.

use super::bindings;
use super::pool::Pool;

/// A compiled expression; it belongs to the pool that it was compiled with.
#[derive(Debug)]
pub(crate) struct Regex(*mut bindings::ap_regex_t);

// SAFETY: a compiled expression is only read, and matching keeps no state in it.
unsafe impl Send for Regex {}
// SAFETY: as above.
unsafe impl Sync for Regex {}

/// Groups that a match reports, the whole match among them.
pub(crate) const GROUPS: usize = 10;

impl Regex {
    /// Compiles `pattern`; `None` when it is no expression.
    pub(crate) fn compile(pool: Pool<'_>, pattern: &[u8]) -> Option<Regex> {
        let pattern = pool.string(pattern);
        // SAFETY: pool and pattern are valid; the pool frees the expression.
        let raw = unsafe { bindings::ap_pregcomp(pool.raw(), pattern, bindings::AP_REG_EXTENDED as i32) };
        (!raw.is_null()).then_some(Regex(raw))
    }

    /// Start and end of the match in `text` and of its groups.
    pub(crate) fn captures(&self, text: &[u8]) -> Option<[Option<(usize, usize)>; GROUPS]> {
        let mut found = [bindings::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; GROUPS];
        // SAFETY: the expression is valid, text and result arrays are as long as said.
        let status = unsafe {
            bindings::ap_regexec_len(
                self.0,
                text.as_ptr().cast(),
                text.len() as bindings::apr_size_t,
                GROUPS as bindings::apr_size_t,
                found.as_mut_ptr(),
                0,
            )
        };
        let place = |found: &bindings::ap_regmatch_t| {
            let (start, end) = (usize::try_from(found.rm_so).ok()?, usize::try_from(found.rm_eo).ok()?);
            (start <= end && end <= text.len()).then_some((start, end))
        };
        (status == 0).then(|| std::array::from_fn(|at| place(&found[at])))
    }
}
