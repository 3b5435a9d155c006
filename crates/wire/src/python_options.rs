//! What the main server says about how Python starts: `WSGIPythonOptimize`, `WSGIPythonWarnings`, `WSGIDontWriteBytecode`.
//! The module fills it in, for daemon processes without what their own environment says. They get it as options of the
//! command line; in httpd's children the engine sets the same.

use serde::{Deserialize, Serialize};

/// Options of Python itself, for all its interpreters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonOptions {
    /// `WSGIPythonOptimize`: how often `-O` is given.
    pub optimize: u8,
    /// `WSGIPythonWarnings`: each is an argument of `-W`.
    pub warnings: Vec<String>,
    /// `WSGIDontWriteBytecode`: `-B`.
    pub dont_write_bytecode: bool,
}

impl PythonOptions {
    /// The options for a process whose own environment has the variables for which `is_set` is true: what a variable
    /// says of that process stands above what is said of all.
    pub fn below(&self, is_set: impl Fn(&str) -> bool) -> PythonOptions {
        PythonOptions {
            optimize: if is_set("PYTHONOPTIMIZE") { 0 } else { self.optimize },
            warnings: if is_set("PYTHONWARNINGS") { Vec::new() } else { self.warnings.clone() },
            dont_write_bytecode: self.dont_write_bytecode && !is_set("PYTHONDONTWRITEBYTECODE"),
        }
    }

    /// The options as arguments of Python's command.
    pub fn arguments(&self) -> Vec<String> {
        let optimize = (0..self.optimize).map(|_| "-O".to_owned());
        let bytecode = self.dont_write_bytecode.then(|| "-B".to_owned());
        let warnings = self.warnings.iter().flat_map(|filter| ["-W".to_owned(), filter.clone()]);
        optimize.chain(bytecode).chain(warnings).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> PythonOptions {
        let warnings = vec!["error".to_owned(), "ignore::DeprecationWarning".to_owned()];
        PythonOptions { optimize: 2, warnings, dont_write_bytecode: true }
    }

    #[test]
    fn each_is_an_option_of_the_command() {
        assert_eq!(full().arguments(), ["-O", "-O", "-B", "-W", "error", "-W", "ignore::DeprecationWarning"]);
        assert!(PythonOptions::default().arguments().is_empty());
    }

    #[test]
    fn what_the_environment_says_stands_above() {
        for (name, left) in [
            ("PYTHONOPTIMIZE", PythonOptions { optimize: 0, ..full() }),
            ("PYTHONWARNINGS", PythonOptions { warnings: Vec::new(), ..full() }),
            ("PYTHONDONTWRITEBYTECODE", PythonOptions { dont_write_bytecode: false, ..full() }),
            ("PYTHONHASHSEED", full()),
        ] {
            assert_eq!(full().below(|set| set == name), left, "{name}");
        }
    }
}
