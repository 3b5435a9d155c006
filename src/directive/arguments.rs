//! Counts of arguments, and the options at the end of a line.

use super::DirectiveError;
use super::error::Outcome;
use super::table::Row;
use super::values::shown;
use super::words::{Argument, OptionWords, Words};

/// The error for a wrong number or form of arguments.
pub(super) fn wrong(row: &Row, problem: impl Into<String>) -> DirectiveError {
    DirectiveError::Arguments { directive: row.name_str(), problem: problem.into(), syntax: row.syntax }
}

/// The only argument.
pub(super) fn only(row: &Row, args: &[u8]) -> Result<Vec<u8>, DirectiveError> {
    let mut words = Words::new(args);
    match (words.next(), words.next()) {
        (Some(word), None) => Ok(word),
        (None, _) => Err(wrong(row, "an argument is missing")),
        (Some(_), Some(extra)) => Err(wrong(row, format!("takes one argument, but \"{}\" follows it", shown(&extra)))),
    }
}

/// All arguments, at least one.
pub(super) fn some(row: &Row, args: &[u8]) -> Result<Vec<Vec<u8>>, DirectiveError> {
    let words: Vec<_> = Words::new(args).collect();
    if words.is_empty() { Err(wrong(row, "an argument is missing")) } else { Ok(words) }
}

/// The next argument that is no option; it must not be empty. `name` says what it is.
pub(super) fn positional(row: &Row, words: &mut Words<'_>, name: &str) -> Result<Vec<u8>, DirectiveError> {
    match words.next() {
        Some(word) if word.is_empty() => Err(wrong(row, format!("the {name} must not be empty"))),
        Some(word) => Ok(word),
        None => Err(wrong(row, format!("the {name} is missing"))),
    }
}

/// Gives each option after `words` to `set`, by its position in `names`.
pub(super) fn options(
    row: &Row,
    words: Words<'_>,
    names: &[&str],
    mut set: impl FnMut(usize, &str, &[u8]) -> Outcome,
) -> Outcome {
    for argument in OptionWords::after(words) {
        let (name, value) = option(row, argument)?;
        let Some(index) = names.iter().position(|known| known.as_bytes() == name) else {
            return Err(unknown(row, &name, names));
        };
        set(index, &format!("{} {}", row.name_str(), names[index]), &value)?;
    }
    Ok(())
}

/// The name and the value of an option.
pub(super) fn option(row: &Row, argument: Argument) -> Result<(Vec<u8>, Vec<u8>), DirectiveError> {
    match argument {
        Argument::Option(name, value) => Ok((name, value)),
        Argument::Other(word) => Err(DirectiveError::NotAnOption { directive: row.name_str(), given: shown(&word) }),
    }
}

/// The error for an option that does not exist.
pub(super) fn unknown(row: &Row, given: &[u8], names: &[&str]) -> DirectiveError {
    let given = shown(given);
    let hint = did_you_mean(&given, names).unwrap_or_else(|| format!("the options are {}", names.join(", ")));
    DirectiveError::UnknownOption { directive: row.name_str(), given, hint }
}

/// A question after the names that are like what was given, if there are any.
pub(crate) fn did_you_mean(given: &str, names: &[&str]) -> Option<String> {
    let mut close: Vec<_> = names.iter().map(|name| (distance(given, name), *name)).collect();
    close.retain(|(distance, name)| *distance <= 1 + name.len() / 5);
    close.sort_unstable();
    let (first, rest) = close.split_first()?;
    let others: String = rest.iter().take(2).map(|(_, name)| format!(" or {name}")).collect();
    Some(format!("did you mean {}{others}?", first.1))
}

/// How many bytes must be put, taken or changed to make `a` into `b`, upper and lower case and `_` and `-` being alike.
fn distance(a: &str, b: &str) -> usize {
    let folded = |text: &str| text.to_ascii_lowercase().replace('_', "-").into_bytes();
    let (a, b) = (folded(a), folded(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_names_counts_edits() {
        for (a, b, expected) in [("", "abc", 3), ("home", "home", 0), ("thread", "threads", 1), ("usre", "user", 2)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
        assert_eq!(distance("Python_Home", "python-home"), 0);
    }
}
