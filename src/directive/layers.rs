//! `<WSGIInterpreterOptions>`: opens a container, and finds those that apply to a process group.

use super::arguments::{option, unknown, wrong};
use super::config::GlobalConfig;
use super::error::Outcome;
use super::interpreter::{InterpreterLayer, InterpreterOptions};
use super::place::Place;
use super::table::Row;
use super::values::group;
use super::words::{OptionWords, Words};

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

    /// Whether free-threaded Python runs without its GIL in processes of `process_group` (empty: embedded mode). Containers
    /// that choose interpreters have no say: a process has one GIL, or none.
    pub fn free_threading(&self, process_group: &[u8]) -> bool {
        let layers = self.layers_of(process_group).into_iter().filter(|layer| layer.application_group.is_none());
        let said = layers.filter_map(|layer| layer.options.free_threading).next_back();
        said.or(self.interpreter.free_threading).unwrap_or(false)
    }

    /// Says which `WSGIFreeThreading` has no effect, for each.
    pub fn free_threading_ignored(&self) -> Vec<String> {
        let ignored =
            |layer: &&InterpreterLayer| layer.application_group.is_some() && layer.options.free_threading.is_some();
        let line = |layer: &InterpreterLayer| {
            format!(
                "<WSGIInterpreterOptions> at {}: WSGIFreeThreading is ignored beside application-group=, because all \
                 interpreters of a process run with a GIL or none does; write it into a container with process-group= alone",
                layer.defined
            )
        };
        self.layers.iter().filter(ignored).map(line).collect()
    }

    /// Where a directive goes that a container may hold: the open container, or the top level.
    pub(super) fn interpreter_options(&mut self) -> &mut InterpreterOptions {
        match self.open_layer {
            Some(index) => &mut self.layers[index].options,
            None => &mut self.interpreter,
        }
    }
}
