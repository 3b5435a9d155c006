//! What the module asks the doctor (`wsgi-supervisor --doctor`) to look at, and what it answers. JSON: an
//! [`Examination`] on its standard input, a [`Finding`] a line on its standard output.

use serde::{Deserialize, Serialize};

use crate::pool::{Identity, PoolConfig};

/// Argument of the supervisor's program.
pub const DOCTOR: &str = "--doctor";

/// Everything to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// [`crate::PROTOCOL`] of the module.
    pub protocol: u32,
    /// Time for each interpreter to answer, milliseconds.
    pub interpreter_ms: u64,
    /// Time for everything together, milliseconds.
    pub limit_ms: u64,
    /// Whom to look at. Findings name them by their place in this list.
    pub patients: Vec<Patient>,
}

/// A process group, or httpd's children.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patient {
    /// Whom its processes run as; `None` is whoever runs the doctor.
    pub identity: Option<Identity>,
    /// The process group; `None`: httpd's children, which look at scripts before they send requests on.
    pub pool: Option<Box<PoolConfig>>,
    /// The scripts that requests execute there.
    pub scripts: Vec<Mount>,
}

/// A script, and what leads to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The file.
    pub path: String,
    /// `WSGIScriptAlias / at /etc/httpd/site.conf:7`.
    pub from: String,
}

/// What the doctor has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Index of the patient.
    pub patient: usize,
    /// What is wrong, as a clause; or, of one that is well, what it runs.
    pub what: String,
    /// The command that mends it.
    pub mend: Option<String>,
    /// Nothing is wrong.
    pub well: bool,
}
