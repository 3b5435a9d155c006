//! Which directives a configuration uses that do nothing yet.

use super::config::GlobalConfig;

/// The names of what `global` uses and what is not in effect, in the order of the table.
pub fn not_in_effect(global: &GlobalConfig) -> Vec<String> {
    let rows = global.used.iter().map(|id| id.row());
    rows.filter(|row| !row.in_effect).map(|row| row.name_str().to_owned()).collect()
}

/// The one warning to log at start-up, if there is something to say.
pub fn not_in_effect_warning(global: &GlobalConfig) -> Option<String> {
    let names = not_in_effect(global);
    (!names.is_empty()).then(|| format!("not in effect yet: {}", names.join(", ")))
}
