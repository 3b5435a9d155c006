//! The settings of interpreters, and `<WSGIInterpreterOptions>` with those that it holds.

use super::Text;
use super::place::Defined;

/// The settings that a container can hold; also the top-level values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InterpreterOptions {
    /// `WSGIPerInterpreterGIL`.
    pub per_interpreter_gil: Option<bool>,
    /// `WSGIFreeThreading`.
    pub free_threading: Option<bool>,
    /// `WSGISwitchInterval`, seconds.
    pub switch_interval: Option<f64>,
    /// `WSGIPythonPath`, split at the colons.
    pub python_path: Option<std::sync::Arc<[Text]>>,
    /// `WSGIRestrictStdin`.
    pub restrict_stdin: Option<bool>,
    /// `WSGIRestrictStdout`.
    pub restrict_stdout: Option<bool>,
    /// `WSGIRestrictSignal`.
    pub restrict_signal: Option<bool>,
}

/// One container: its selectors and its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct InterpreterLayer {
    /// `process-group=`; empty is embedded mode, `None` is every group.
    pub process_group: Option<Text>,
    /// `application-group=`; empty is the main interpreter, `None` is every one.
    pub application_group: Option<Text>,
    /// What it sets.
    pub options: InterpreterOptions,
    /// Where it stands.
    pub defined: Defined,
}

impl InterpreterLayer {
    /// How specific it is: the number of its selectors.
    pub(super) fn score(&self) -> usize {
        usize::from(self.process_group.is_some()) + usize::from(self.application_group.is_some())
    }

    /// Whether it applies to interpreters of the processes of `process_group` (empty: embedded mode).
    pub(super) fn is_for(&self, process_group: &[u8]) -> bool {
        self.process_group.as_ref().is_none_or(|name| **name == *process_group)
    }
}
