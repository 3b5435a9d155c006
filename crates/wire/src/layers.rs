//! Settings of interpreters as `<WSGIInterpreterOptions>` gives them: in layers, of which the last one that
//! applies to an interpreter and says something of a setting decides.

use serde::{Deserialize, Serialize};

/// What one container says, or the top level of the configuration. Those that do not apply to the process are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The interpreter: an application group, empty for the main one; `None` is every interpreter.
    pub application_group: Option<String>,
    /// `WSGIPythonPath`.
    pub python_path: Vec<String>,
    /// `WSGIRestrictStdin`.
    pub restrict_stdin: Option<bool>,
    /// `WSGIRestrictStdout`.
    pub restrict_stdout: Option<bool>,
    /// `WSGIRestrictSignal`.
    pub restrict_signal: Option<bool>,
    /// `WSGISwitchInterval`, microseconds.
    #[serde(default)]
    pub switch_interval_us: Option<u64>,
    /// `WSGIPerInterpreterGIL`.
    #[serde(default)]
    pub per_interpreter_gil: Option<bool>,
}

/// The settings of one interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings<'l> {
    /// Directories for `site.addsitedir`: the entries of each list are to stand before those of the list before it.
    pub python_path: Vec<&'l [String]>,
    /// Any use of `sys.stdin` is an error.
    pub restrict_stdin: bool,
    /// Any use of `sys.stdout` is an error.
    pub restrict_stdout: bool,
    /// `signal.signal` registers nothing.
    pub restrict_signal: bool,
    /// `sys.setswitchinterval()`, microseconds, of the process: it belongs to the GIL.
    pub switch_interval_us: Option<u64>,
    /// That of the interpreter alone, a named one, where nothing more specific is said of the process. It takes a GIL of its
    /// own.
    pub own_switch_interval_us: Option<u64>,
    /// The interpreter is to have a GIL of its own; never so for the main one.
    pub per_interpreter_gil: bool,
}

/// Resolves `layers`, which are in order, the least specific first, for the interpreter of `application_group`.
pub fn resolve<'l>(layers: &'l [Layer], application_group: &str) -> Settings<'l> {
    let mut found = Settings {
        python_path: Vec::new(),
        restrict_stdin: false,
        restrict_stdout: false,
        restrict_signal: true,
        switch_interval_us: None,
        own_switch_interval_us: None,
        per_interpreter_gil: false,
    };
    let applies = |layer: &&Layer| layer.application_group.as_ref().is_none_or(|group| group == application_group);
    for layer in layers.iter().filter(applies) {
        if !layer.python_path.is_empty() {
            found.python_path.push(&layer.python_path);
        }
        found.restrict_stdin = layer.restrict_stdin.unwrap_or(found.restrict_stdin);
        found.restrict_stdout = layer.restrict_stdout.unwrap_or(found.restrict_stdout);
        found.restrict_signal = layer.restrict_signal.unwrap_or(found.restrict_signal);
        let is_own = layer.application_group.as_ref().is_some_and(|group| !group.is_empty());
        if layer.switch_interval_us.is_some() && is_own {
            found.own_switch_interval_us = layer.switch_interval_us;
        } else if layer.switch_interval_us.is_some() {
            (found.switch_interval_us, found.own_switch_interval_us) = (layer.switch_interval_us, None);
        }
        found.per_interpreter_gil = layer.per_interpreter_gil.unwrap_or(found.per_interpreter_gil);
    }
    found.per_interpreter_gil &= !application_group.is_empty();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(group: Option<&str>, path: &str, stdin: Option<bool>, signal: Option<bool>) -> Layer {
        Layer {
            application_group: group.map(str::to_owned),
            python_path: path.split_terminator(':').map(str::to_owned).collect(),
            restrict_stdin: stdin,
            restrict_stdout: None,
            restrict_signal: signal,
            switch_interval_us: None,
            per_interpreter_gil: None,
        }
    }

    #[test]
    fn without_layers_signals_are_restricted_and_streams_are_not() {
        let found = resolve(&[], "");
        assert_eq!((found.restrict_stdin, found.restrict_stdout, found.restrict_signal), (false, false, true));
        assert!(found.python_path.is_empty());
    }

    #[test]
    fn the_last_layer_that_applies_decides_and_paths_add_up() {
        let layers = [
            layer(None, "/a:/b", Some(true), None),
            layer(Some(""), "/main", Some(false), Some(false)),
            layer(Some("x"), "/x", None, None),
        ];
        let main = resolve(&layers, "");
        assert_eq!((main.restrict_stdin, main.restrict_signal), (false, false));
        assert_eq!(main.python_path, [&["/a".to_owned(), "/b".to_owned()][..], &["/main".to_owned()]]);
        let x = resolve(&layers, "x");
        assert_eq!((x.restrict_stdin, x.restrict_signal), (true, true));
        assert_eq!(x.python_path.last(), Some(&&["/x".to_owned()][..]));
        assert_eq!(resolve(&layers, "y").python_path.len(), 1);
    }

    #[test]
    fn a_switch_interval_is_that_of_the_process_or_of_one_interpreter() {
        let with = |group, us| Layer { switch_interval_us: Some(us), ..layer(group, "", None, None) };
        let mut layers = vec![with(None, 1), with(Some(""), 2), with(Some("x"), 3)];
        let of = |layers: &[Layer], group| {
            let found = resolve(layers, group);
            (found.switch_interval_us, found.own_switch_interval_us)
        };
        assert_eq!(of(&layers, ""), (Some(2), None));
        assert_eq!(of(&layers, "x"), (Some(1), Some(3)));
        assert_eq!(of(&layers, "y"), (Some(1), None));
        layers.push(with(None, 4));
        assert_eq!(of(&layers, "x"), (Some(4), None), "the last one decides");
        assert_eq!(of(&[], ""), (None, None));
    }

    #[test]
    fn every_interpreter_but_the_main_one_may_have_its_own_gil() {
        let with = |group, is_own| Layer { per_interpreter_gil: Some(is_own), ..layer(group, "", None, None) };
        let layers = [with(None, true), with(Some("x"), false), with(Some(""), true)];
        assert_eq!(["", "x", "y"].map(|group| resolve(&layers, group).per_interpreter_gil), [false, false, true]);
        assert!(!resolve(&[], "x").per_interpreter_gil);
    }
}
