//! `WSGIScriptAlias` and `WSGIScriptAliasMatch`: what they map, and the options at their ends.

use std::sync::Arc;

use super::Text;
use super::arguments::{options, positional};
use super::config::{Defined, GlobalConfig, Outcome, Place, ServerConfig, ServerKey};
use super::table::{Kind, Row};
use super::values::{bad, group, switch, word};
use super::words::Words;

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

/// Reads `pattern path [options]` and puts the alias at the end of the server's list.
pub(super) fn define(
    row: &Row,
    args: &[u8],
    place: &Place<'_>,
    global: &mut GlobalConfig,
    server: &mut ServerConfig,
) -> Outcome {
    let target = if row.kind == Kind::AliasMatch { AliasTarget::Regex } else { AliasTarget::Prefix };
    let mut words = Words::new(args);
    let pattern = positional(row, &mut words, if target == AliasTarget::Regex { "regex" } else { "URL prefix" })?;
    if target == AliasTarget::Prefix && pattern[0] != b'/' {
        return Err(bad(row.name_str(), &pattern, "must be a URL prefix that begins with /"));
    }
    let path = Text::from(positional(row, &mut words, "path of the script")?);
    let options = read_options(row, words)?;
    let alias = Alias {
        id: global.alias_count,
        target,
        pattern: Text::from(pattern),
        path,
        options,
        server: place.server,
        defined: place.defined(),
    };
    global.alias_count += 1;
    server.aliases.push(Arc::new(alias));
    Ok(())
}

/// What follows the path.
fn read_options(row: &Row, words: Words<'_>) -> Result<AliasOptions, super::DirectiveError> {
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
