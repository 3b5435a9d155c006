//! SELinux: files with labels that httpd may not use. `apachectl configtest` itself runs unconfined, so the
//! kernel says yes where it will say no to httpd.

use std::fs;
use std::path::Path;

use wsgi_sys::access;

use crate::diagnose::{Problem, quoted};

/// Types of files that httpd's domain may not read or execute in the reference policy, and how they came about.
const CLOSED: [(&str, &str); 6] = [
    ("user_home_t", "it was made in a home directory"),
    ("admin_home_t", "it was made in root's home directory"),
    ("user_tmp_t", "it was made in a directory for temporary files"),
    ("tmp_t", "it was made in a directory for temporary files"),
    ("default_t", "no rule of SELinux is about its place"),
    ("unlabeled_t", "it has no valid label"),
];

/// Why SELinux will not let httpd use `path`, if it is enforcing.
pub fn advice(path: &Path) -> Option<Problem> {
    let enforcing = fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1");
    enforcing.then(|| access::label(path)).flatten().and_then(|label| of_label(path, &label))
}

/// The problem that the label means for httpd.
fn of_label(path: &Path, label: &str) -> Option<Problem> {
    let kind = label.split(':').nth(2)?;
    let (_, why) = CLOSED.iter().find(|(closed, _)| *closed == kind)?;
    let what = format!("SELinux will not let httpd use {}: its type is {kind} ({why})", path.display());
    if kind == "user_home_t" {
        return Some(Problem::with(what, "setsebool -P httpd_enable_homedirs on httpd_read_user_content on"));
    }
    let place = if path.is_dir() { path } else { path.parent()? };
    let mend = format!(
        "semanage fcontext -a -t httpd_sys_content_t '{}(/.*)?' && restorecon -R {}",
        place.display(),
        quoted(place)
    );
    Some(Problem::with(what, mend))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_types_have_a_command() {
        let of = |label| of_label(Path::new("/srv/site/app.wsgi"), label);
        assert_eq!(of("system_u:object_r:httpd_sys_content_t:s0"), None);
        assert_eq!(of("nonsense"), None);
        let found = of("unconfined_u:object_r:default_t:s0").expect("closed");
        assert!(found.what.contains("its type is default_t"), "{found}");
        let mend = "semanage fcontext -a -t httpd_sys_content_t '/srv/site(/.*)?' && restorecon -R /srv/site";
        assert_eq!(found.mend.as_deref(), Some(mend));
        assert!(of("u:object_r:user_home_t:s0").expect("closed").mend.expect("command").starts_with("setsebool"));
    }
}
