//! Directives whose arguments are a script and options.

use std::sync::Arc;

use super::arguments::{options, positional, wrong};
use super::config::{GlobalConfig, HandlerScript, ImportScript, Script};
use super::error::Outcome;
use super::place::Place;
use super::table::Row;
use super::values::{group, switch};
use super::words::Words;
use super::{DirectiveError, Text};

/// `path [process-group=NAME] [application-group=NAME]`. Whether the process group exists is known when all of the
/// configuration has been read. A `.htaccess` file may not choose one: it would run code as that group's user.
pub(super) fn script(row: &Row, args: &[u8], place: &Place<'_>) -> Result<Arc<Script>, DirectiveError> {
    let mut words = Words::new(args);
    let path = Text::from(positional(row, &mut words, "path of the script")?);
    let mut groups = [Text::default(), Text::default()];
    let mut gives_group = false;
    options(row, words, &["process-group", "application-group"], |index, what, value| {
        gives_group |= index == 0;
        groups[index] = if index == 0 { fixed_group(what, value)? } else { group(what, value)? };
        Ok(())
    })?;
    if gives_group && place.in_htaccess {
        let directive = row.name_str().to_owned();
        let problem =
            "process-group= cannot stand in a .htaccess file: whoever writes that file would choose as which user \
                       the script runs"
                .to_owned();
        return Err(DirectiveError::Combination { directive, problem });
    }
    let [process_group, application_group] = groups;
    let (defined, in_htaccess) = (place.defined(), place.in_htaccess);
    Ok(Arc::new(Script { path, process_group, application_group, defined, in_htaccess }))
}

/// `WSGIHandlerScript`.
pub(super) fn handler(row: &Row, args: &[u8]) -> Result<HandlerScript, DirectiveError> {
    let mut words = Words::new(args);
    let mut script = HandlerScript {
        handler: Text::from(positional(row, &mut words, "name of the handler")?),
        path: Text::from(positional(row, &mut words, "path of the script")?),
        process_group: None,
        application_group: None,
        pass_authorization: None,
    };
    let names = ["process-group", "application-group", "pass-authorization"];
    options(row, words, &names, |index, what, value| {
        match index {
            0 => script.process_group = Some(group(what, value)?),
            1 => script.application_group = Some(group(what, value)?),
            _ => script.pass_authorization = Some(switch(what, value)?),
        }
        Ok(())
    })?;
    Ok(script)
}

/// `WSGIImportScript`. Whether the process group exists is known when all of the configuration has been read.
pub(super) fn import(row: &Row, args: &[u8], place: &Place<'_>, global: &mut GlobalConfig) -> Outcome {
    let mut words = Words::new(args);
    let path = Text::from(positional(row, &mut words, "path of the script")?);
    let mut groups = [None, None];
    let names = ["process-group", "application-group"];
    options(row, words, &names, |index, what, value| {
        groups[index] = Some(fixed_group(what, value)?);
        Ok(())
    })?;
    let [Some(process_group), Some(application_group)] = groups else {
        return Err(wrong(row, "needs both process-group= and application-group="));
    };
    let (server, defined) = (place.server, place.defined());
    global.imports.push(ImportScript { path, process_group, application_group, server, defined });
    Ok(())
}

/// A group that is known before any request: no token but `%{GLOBAL}`.
fn fixed_group(what: &str, value: &[u8]) -> Result<Text, DirectiveError> {
    let name = group(what, value)?;
    if name.starts_with(b"%{") {
        return Err(super::values::bad(what, value, "must be a name or %{GLOBAL}, because no request chooses it"));
    }
    Ok(name)
}
