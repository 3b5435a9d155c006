//! What the module asks the doctor (`wsgi-supervisor --doctor`) to look at, and what it answers. JSON: an
//! [`Examination`] on its standard input, a [`Finding`] a line on its standard output.

use serde::{Deserialize, Serialize};

use crate::config::{GroupConfig, Identity};

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
    /// What to look at. Findings name them by their place in this list.
    pub subjects: Vec<Subject>,
}

/// What the doctor examines: a process group, or httpd's children.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Whom its processes run as; `None` is whoever runs the doctor.
    pub identity: Option<Identity>,
    /// The process group; `None`: httpd's children, which look at scripts before they send requests on.
    pub group: Option<Box<GroupConfig>>,
    /// The scripts that requests execute there.
    pub scripts: Vec<Mount>,
    /// Some of the scripts run in sub-interpreters.
    pub sub_interpreters: bool,
    /// The interpreter whose libpython httpd's children open, if some script runs in embedded mode.
    pub embedded: Option<Embedded>,
}

/// The interpreter of embedded mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedded {
    /// Its path.
    pub python: String,
    /// What in the configuration names it.
    pub from: String,
    /// `WSGIPythonPath` of its interpreters.
    #[serde(default)]
    pub path: Vec<String>,
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
    /// Index of the subject.
    pub subject: usize,
    /// What is wrong, as a clause; or, of one that is well, what it runs.
    pub what: String,
    /// The command that mends it.
    pub mend: Option<String>,
    /// Nothing is wrong.
    pub well: bool,
}

impl Subject {
    /// Who it is, for the administrator.
    pub fn title(&self) -> Title {
        let user = self.identity.as_ref().map(|found| found.name.as_str());
        match &self.group {
            Some(group) => Title::of_group(&group.name, &group.defined_at, user),
            None => Title::of_children(user),
        }
    }
}

/// Who a subject is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title {
    text: String,
    is_group: bool,
}

impl Title {
    /// A process group that `place` (file:line) defines and that runs as `user`.
    pub fn of_group(name: &str, place: &str, user: Option<&str>) -> Title {
        let user = user.map_or(String::new(), |user| format!(", user {user}"));
        Title { text: format!("process group \"{name}\" ({place}{user})"), is_group: true }
    }

    /// httpd's children.
    pub fn of_children(user: Option<&str>) -> Title {
        let user = user.map_or(String::new(), |user| format!(" (user {user})"));
        Title { text: format!("httpd's children{user}"), is_group: false }
    }
}

/// A line for each finding, in their order. Without `show_all` nothing is said of what is well. What is found for a group
/// and, in the same words, for httpd's children is said once.
pub fn lines(subjects: &[Title], findings: &[Finding], show_all: bool) -> Vec<String> {
    let mut seen: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for finding in findings.iter().filter(|finding| show_all || !finding.well) {
        let Some(title) = subjects.get(finding.subject) else { continue };
        if !title.is_group && seen.contains(&finding.what.as_str()) {
            continue;
        }
        seen.push(&finding.what);
        let mend = finding.mend.as_ref().map_or(String::new(), |mend| format!("; to mend it: {mend}"));
        let well = if finding.well { "is well: " } else { "" };
        lines.push(format!("{}: {well}{}{mend}", title.text, finding.what));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(subject: usize, what: &str, mend: Option<&str>) -> Finding {
        Finding { subject, what: what.to_owned(), mend: mend.map(str::to_owned), well: false }
    }

    #[test]
    fn findings_name_the_subject_and_the_command() {
        let subjects = [
            Title::of_group("shop", "conf:3", Some("web")),
            Title::of_group("own", "conf:4", None),
            Title::of_children(Some("www-data")),
        ];
        let findings = [
            finding(0, "/srv is closed", Some("chmod o+x /srv")),
            finding(1, "lost", None),
            finding(2, "lost", None),
            finding(2, "closed", None),
            finding(9, "nobody's", None),
        ];
        assert_eq!(
            lines(&subjects, &findings, false),
            [
                "process group \"shop\" (conf:3, user web): /srv is closed; to mend it: chmod o+x /srv",
                "process group \"own\" (conf:4): lost",
                "httpd's children (user www-data): closed",
            ]
        );
    }

    #[test]
    fn what_is_well_is_told_when_asked() {
        let subjects = [Title::of_group("shop", "conf:3", None), Title::of_children(None)];
        let well = [Finding { well: true, ..finding(0, "Python 3.12", None) }];
        assert!(lines(&subjects, &well, false).is_empty());
        assert_eq!(lines(&subjects, &well, true), ["process group \"shop\" (conf:3): is well: Python 3.12"]);
        assert_eq!(lines(&subjects, &[finding(1, "x", None)], false), ["httpd's children: x"]);
    }
}
