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
    /// `sys.setswitchinterval()`, microseconds. It belongs to the GIL, which the interpreters of a process share, so what
    /// is said for a named one is left out.
    pub switch_interval_us: Option<u64>,
    /// Such a value was left out.
    pub leaves_out_switch_interval: bool,
}

/// Resolves `layers`, which are in order, the least specific first, for the interpreter of `application_group`.
pub fn resolve<'l>(layers: &'l [Layer], application_group: &str) -> Settings<'l> {
    let mut found = Settings {
        python_path: Vec::new(),
        restrict_stdin: false,
        restrict_stdout: false,
        restrict_signal: true,
        switch_interval_us: None,
        leaves_out_switch_interval: false,
    };
    let applies = |layer: &&Layer| layer.application_group.as_ref().is_none_or(|group| group == application_group);
    for layer in layers.iter().filter(applies) {
        if !layer.python_path.is_empty() {
            found.python_path.push(&layer.python_path);
        }
        found.restrict_stdin = layer.restrict_stdin.unwrap_or(found.restrict_stdin);
        found.restrict_stdout = layer.restrict_stdout.unwrap_or(found.restrict_stdout);
        found.restrict_signal = layer.restrict_signal.unwrap_or(found.restrict_signal);
        if layer.application_group.as_ref().is_none_or(String::is_empty) {
            found.switch_interval_us = layer.switch_interval_us.or(found.switch_interval_us);
        } else {
            found.leaves_out_switch_interval |= layer.switch_interval_us.is_some();
        }
    }
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
    fn the_switch_interval_is_that_of_the_process() {
        let with = |group, us| Layer { switch_interval_us: Some(us), ..layer(group, "", None, None) };
        let layers = [with(None, 1), with(Some(""), 2), with(Some("x"), 3)];
        let (main, x) = (resolve(&layers, ""), resolve(&layers, "x"));
        assert_eq!((main.switch_interval_us, main.leaves_out_switch_interval), (Some(2), false));
        assert_eq!((x.switch_interval_us, x.leaves_out_switch_interval), (Some(1), true));
        assert_eq!(resolve(&[], "").switch_interval_us, None);
    }
}
