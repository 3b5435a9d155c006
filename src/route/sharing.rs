//! Which applications share the processes of a group, and so run in sub-interpreters, perhaps unasked: a line for the log
//! at the start.

use super::mounts::Mount;
use crate::directive::shown;

/// Most applications that the line names.
const NAMED: usize = 5;

/// Whether a script of the group `name` may run in a sub-interpreter, as it is not alone there.
pub fn uses_sub_interpreters(name: &[u8], mounts: &[Mount]) -> bool {
    of_group(name, mounts).any(|mount| mount.is_named == Some(true))
}

/// The line for a group in which no script is alone by configuration; `None`: no application is known to be in a
/// sub-interpreter beside others. `is_directory` asks the file system.
pub fn sharing(name: &[u8], mounts: &[Mount], is_directory: &dyn Fn(&[u8]) -> bool) -> Option<String> {
    let mut all: Vec<String> = Vec::new();
    let mut is_many = false;
    for mount in of_group(name, mounts).filter(|mount| mount.maps_urls) {
        is_many |= is_directory(&mount.path);
        let scripts = if is_directory(&mount.path) { "the scripts of " } else { "" };
        let url = if mount.url.is_empty() { String::new() } else { format!(" ({})", shown(&mount.url)) };
        let application = format!("{scripts}{}{url}", shown(&mount.path));
        // The copy of a virtual host for https is no other application.
        if !all.contains(&application) {
            all.push(application);
        }
    }
    if !(is_many || all.len() > 1) || !uses_sub_interpreters(name, mounts) {
        return None;
    }
    let more = all.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    all.truncate(NAMED);
    Some(format!(
        "process group \"{}\": several applications share its processes: {}{more}. Each runs in a sub-interpreter, where some \
         extension modules do not work, unless application-group=%{{GLOBAL}} puts it into the main interpreter. With a \
         WSGIDaemonProcess of its own (process-group=NAME on its alias) an application has a process and the main interpreter \
         for itself",
        shown(name),
        all.join(", ")
    ))
}

fn of_group<'m>(name: &'m [u8], mounts: &'m [Mount]) -> impl Iterator<Item = &'m Mount> {
    mounts.iter().filter(move |mount| mount.group.as_deref() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::{ServerKey, Text};

    /// Mounts from `URL SCRIPT GROUP INTERPRETER`, where `-` is the main interpreter and `?` is not known.
    fn told(lines: &[&str]) -> Option<String> {
        let mount = |line: &&str| {
            let mut words = line.split(' ');
            let mut text = || Text::from(words.next().unwrap_or_default().as_bytes());
            let (url, path, group, interpreter) = (text(), text(), text(), text());
            let is_named = (&*interpreter != b"?").then(|| &*interpreter != b"-");
            let (from, server, maps_urls) = (String::new(), ServerKey::MAIN, true);
            Mount { path, from, group: Some(group), is_named, server, url, maps_urls }
        };
        let mounts: Vec<Mount> = lines.iter().map(mount).collect();
        sharing(b"g", &mounts, &|path| path.ends_with(b"/"))
    }

    #[test]
    fn only_applications_that_meet_in_sub_interpreters_are_told_of() {
        assert_eq!(told(&["/ /a g x"]), None);
        assert_eq!(told(&["/ /a g x", "/b /b h x"]), None);
        assert_eq!(told(&["/ /a g x", "/ /a g x"]), None);
        assert_eq!(told(&["/ /a g -", "/b /b g -"]), None);
        assert_eq!(told(&["/ /a g ?", "/b /b g ?"]), None);
        assert!(told(&["/ /a g -", "/b /b g x"]).is_some());
        assert!(told(&["/ /d/ g x"]).is_some_and(|text| text.contains(": the scripts of /d/ (/). Each")));
        assert!(told(&["/a /a g x", "/b /a g x"]).is_some_and(|text| text.contains(": /a (/a), /a (/b). Each")));
    }

    #[test]
    fn a_long_list_is_cut() {
        let lines: Vec<String> = (0..7).map(|number| format!("/{number} /s{number} g x")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let text = told(&lines).expect("they share the group");
        assert!(text.contains("/s4 (/4) and 2 more. Each") && !text.contains("/s5"), "{text}");
    }
}
