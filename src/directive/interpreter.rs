//! `<WSGIInterpreterOptions>`: settings for the interpreters of some groups, in layers.

use super::Text;
use super::arguments::{option, unknown, wrong};
use super::config::{Defined, GlobalConfig, Outcome, Place};
use super::table::Row;
use super::values::group;
use super::words::{OptionWords, Words};

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

/// The selectors of a container.
const SELECTORS: [&str; 2] = ["process-group", "application-group"];

/// Opens a container; what follows goes into it until [`GlobalConfig::close_interpreter_options`].
pub(super) fn open(row: &Row, args: &[u8], place: &Place<'_>, global: &mut GlobalConfig) -> Outcome {
    if global.open_layer.is_some() {
        return Err(wrong(row, "cannot stand inside itself"));
    }
    let Some(args) = args.trim_ascii().strip_suffix(b">") else {
        return Err(wrong(row, "the > at the end of the line is missing"));
    };
    let mut selectors = [None, None];
    for argument in OptionWords::after(Words::new(args)) {
        let (name, value) = option(row, argument)?;
        let known = SELECTORS.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(&name));
        let index = known.ok_or_else(|| unknown(row, &name, &SELECTORS))?;
        let value = group(&format!("{} {}", row.name_str(), SELECTORS[index]), &value)?;
        if selectors[index].replace(value).is_some() {
            return Err(wrong(row, format!("{} is given twice", SELECTORS[index])));
        }
    }
    let [process_group, application_group] = selectors;
    let (options, defined) = (InterpreterOptions::default(), place.defined());
    global.open_layer = Some(global.layers.len());
    global.layers.push(InterpreterLayer { process_group, application_group, options, defined });
    Ok(())
}

impl GlobalConfig {
    /// Where a directive goes that a container may hold: the open container, or the top level.
    pub(super) fn interpreter_options(&mut self) -> &mut InterpreterOptions {
        match self.open_layer {
            Some(index) => &mut self.layers[index].options,
            None => &mut self.interpreter,
        }
    }
}
