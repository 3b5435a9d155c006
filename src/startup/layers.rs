//! From `<WSGIInterpreterOptions>` to the layers that an engine resolves.

use wsgi_wire::layers::Layer;

use super::text::utf8;
use crate::directive::{GlobalConfig, InterpreterOptions, Text};

/// The layers for the processes of `process_group` (empty: embedded mode), the least specific first: the top level,
/// then the containers by the number of their selectors, and those of the same number as they stand in the file.
///
/// # Errors
/// A sentence that names what is no UTF-8.
pub(super) fn of(global: &GlobalConfig, process_group: &[u8]) -> Result<Vec<Layer>, String> {
    // The top level's WSGIPythonPath is for embedded mode, and passed on its own.
    let top = layer(None, &InterpreterOptions { python_path: None, ..global.interpreter.clone() })?;
    let containers = global.layers_of(process_group).into_iter();
    let containers = containers.map(|found| layer(found.application_group.as_ref(), &found.options));
    std::iter::once(Ok(top)).chain(containers).collect()
}

fn layer(application_group: Option<&Text>, options: &InterpreterOptions) -> Result<Layer, String> {
    let path = options.python_path.as_deref().unwrap_or_default();
    Ok(Layer {
        application_group: application_group
            .map(|name| utf8(name, "<WSGIInterpreterOptions> application-group"))
            .transpose()?,
        python_path: path
            .iter()
            .map(|entry| utf8(entry, "<WSGIInterpreterOptions> WSGIPythonPath"))
            .collect::<Result<_, _>>()?,
        restrict_stdin: options.restrict_stdin,
        restrict_stdout: options.restrict_stdout,
        restrict_signal: options.restrict_signal,
        switch_interval_us: options.switch_interval.map(microseconds),
        per_interpreter_gil: options.per_interpreter_gil,
    })
}

/// Seconds with a fraction as whole microseconds, at least one: Python takes no less.
pub(super) fn microseconds(seconds: f64) -> u64 {
    ((seconds * 1e6).round() as u64).max(1)
}
