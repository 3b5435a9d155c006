//! Which directives and options a configuration uses that do nothing yet.

use super::config::GlobalConfig;
use super::options::OptionId;
use super::table::Id;

/// Something that the configuration uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Used {
    /// A directive.
    Directive(Id),
    /// An option of `WSGIDaemonProcess`.
    Option(OptionId),
}

/// The names of what `global` uses and what is not in effect, in the order of the tables.
pub fn not_in_effect(global: &GlobalConfig) -> Vec<String> {
    let name = |used: &Used| match *used {
        Used::Directive(id) => (!id.row().in_effect).then(|| id.row().name_str().to_owned()),
        Used::Option(id) => (!id.row().in_effect).then(|| format!("WSGIDaemonProcess {}", id.row().name)),
    };
    global.used.iter().filter_map(name).collect()
}

/// The one warning to log at start-up, if there is something to say.
pub fn not_in_effect_warning(global: &GlobalConfig) -> Option<String> {
    let names = not_in_effect(global);
    (!names.is_empty()).then(|| format!("not in effect yet: {}", names.join(", ")))
}
