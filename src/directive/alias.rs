//! `WSGIScriptAlias` and `WSGIScriptAliasMatch`: what they map, and the options at their ends.

use super::arguments::{options, positional};
use super::place::{Defined, Place, ServerKey};
use super::table::{Kind, Row};
use super::values::{bad, group, switch, word};
use super::words::Words;
use super::{DirectiveError, Text};

/// What the first argument of an alias is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasTarget {
    /// `WSGIScriptAlias`: a URL prefix.
    Prefix,
    /// `WSGIScriptAliasMatch`: a regular expression, which the glue compiles.
    Regex,
}

/// One `WSGIScriptAlias` or `WSGIScriptAliasMatch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Distinct for every alias of one reading of the configuration, counted from 0; the key for the glue's
    /// compiled regular expressions.
    pub id: usize,
    /// Prefix or regular expression.
    pub target: AliasTarget,
    /// The URL prefix or the expression.
    pub pattern: Text,
    /// The file, or the directory of files.
    pub path: Text,
    /// What follows.
    pub options: AliasOptions,
    /// The server in whose configuration it stands.
    pub server: ServerKey,
    /// Where it stands.
    pub defined: Defined,
}

/// The options of an alias; each overrides the directive of the same meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AliasOptions {
    /// `process-group=`; empty is `%{GLOBAL}`.
    pub process_group: Option<Text>,
    /// `application-group=`; empty is `%{GLOBAL}`.
    pub application_group: Option<Text>,
    /// `callable-object=`, taken literally.
    pub callable_object: Option<Text>,
    /// `pass-authorization=`.
    pub pass_authorization: Option<bool>,
}

/// Reads `pattern path [options]`; the alias is known as `id` from then on.
pub(super) fn read(row: &Row, args: &[u8], place: &Place<'_>, id: usize) -> Result<Alias, DirectiveError> {
    let target = if row.kind == Kind::AliasMatch { AliasTarget::Regex } else { AliasTarget::Prefix };
    let mut words = Words::new(args);
    let pattern = positional(row, &mut words, if target == AliasTarget::Regex { "regex" } else { "URL prefix" })?;
    if target == AliasTarget::Prefix && pattern[0] != b'/' {
        return Err(bad(row.name_str(), &pattern, "must be a URL prefix that begins with /"));
    }
    let path = Text::from(positional(row, &mut words, "path of the script")?);
    let options = read_options(row, words)?;
    let (pattern, server, defined) = (Text::from(pattern), place.server, place.defined());
    Ok(Alias { id, target, pattern, path, options, server, defined })
}

/// What follows the path.
fn read_options(row: &Row, words: Words<'_>) -> Result<AliasOptions, DirectiveError> {
    let mut read = AliasOptions::default();
    let names = ["process-group", "application-group", "callable-object", "pass-authorization"];
    options(row, words, &names, |index, what, value| {
        match index {
            0 => read.process_group = Some(group(what, value)?),
            1 => read.application_group = Some(group(what, value)?),
            2 => read.callable_object = Some(word(what, value)?),
            _ => read.pass_authorization = Some(switch(what, value)?),
        }
        Ok(())
    })?;
    Ok(read)
}
