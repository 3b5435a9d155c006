//! A machine for unit tests: everything is in `/srv`, and httpd has all its modules.

use std::path::Path;

use crate::facts::{Facts, Lies, Python};
use crate::options::cli::tests::parsed;
use crate::plan::Plan;
use crate::problem::Problem;

fn lies(path: &Path) -> Lies {
    let name = path.to_string_lossy();
    let is_directory = ["/srv", "/srv/pages", "/srv/work dir"].contains(&name.as_ref());
    let is_missing = name.contains("none") || name.contains("php") || name.contains("pkg.");
    match (is_directory, is_missing, path.extension()) {
        (true, ..) => Lies::Directory,
        (_, false, Some(_)) => Lies::File,
        _ => Lies::Nothing,
    }
}

/// The facts of this machine.
pub fn facts() -> Facts {
    Facts {
        directory: "/srv".into(),
        temporary: "/tmp".into(),
        uid: 1000,
        user: "ann".into(),
        group: "#1000".into(),
        module: "/lib/mod_wsgi.so".into(),
        httpd: "/usr/sbin/apache2".into(),
        modules: "/usr/lib/apache2/modules".into(),
        rotatelogs: "/usr/bin/rotatelogs".into(),
        shell: "/bin/bash".into(),
        python: Python {
            executable: "/venv/bin/python3".into(),
            prefix: "/venv".into(),
            free_threaded: false,
            locale: "C.UTF-8".into(),
            mime_types: Some("/etc/mime.types".into()),
        },
        terminal_opens: true,
        command_line: vec!["mod_wsgi-express".into(), "start-server".into()],
        lies,
    }
}

/// The plan of this command line, with `app.wsgi`.
pub fn planned(line: &[&str]) -> Result<Plan, Problem> {
    let line: Vec<&str> = ["app.wsgi"].iter().chain(line).copied().collect();
    Plan::new(parsed(&line), facts())
}
