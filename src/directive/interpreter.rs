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

impl InterpreterLayer {
    /// How specific it is: the number of its selectors.
    fn score(&self) -> usize {
        usize::from(self.process_group.is_some()) + usize::from(self.application_group.is_some())
    }

    /// Whether it applies to interpreters of the processes of `process_group` (empty: embedded mode).
    fn is_for(&self, process_group: &[u8]) -> bool {
        self.process_group.as_ref().is_none_or(|name| **name == *process_group)
    }
}

impl GlobalConfig {
    /// The containers for `process_group` (empty: embedded mode), the most specific last; of two that are equally
    /// specific the one that stands later in the file is later.
    pub fn layers_of(&self, process_group: &[u8]) -> Vec<&InterpreterLayer> {
        let mut found: Vec<_> = self.layers.iter().filter(|layer| layer.is_for(process_group)).collect();
        found.sort_by_key(|layer| layer.score());
        found
    }

    /// Whether a container is for some interpreters of `process_group` and not for others.
    pub fn tells_interpreters_apart(&self, process_group: &[u8]) -> bool {
        self.layers_of(process_group).iter().any(|layer| layer.application_group.is_some())
    }

    /// Where a directive goes that a container may hold: the open container, or the top level.
    pub(super) fn interpreter_options(&mut self) -> &mut InterpreterOptions {
        match self.open_layer {
            Some(index) => &mut self.layers[index].options,
            None => &mut self.interpreter,
        }
    }
}
