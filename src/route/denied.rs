//! Scripts that nobody may reach, because the only `Require` for their directory says `all denied`: for the doctor.
//!
//! Distributions deny everything in `<Directory />`, so an alias to a directory without a section of its own answers 403.
//! Only a configuration that is certain to deny is told: whatever may open the script, somewhere, keeps the doctor silent.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Mount;
use crate::directive::{ServerKey, shown};

/// A line of httpd's configuration with what stands inside of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigLine {
    /// Its name; that of a section begins with `<`.
    pub name: String,
    /// Its arguments; those of a section end with `>`.
    pub args: String,
    /// `file:line`.
    pub place: String,
    /// The virtual host that it opens.
    pub opens: Option<ServerKey>,
    /// The lines of a section.
    pub inside: Vec<ConfigLine>,
}

/// What the lines of one section do to the script.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// It says nothing of access.
    Silent,
    /// It denies everybody; where.
    Denies(String),
    /// It may let somebody in.
    MayOpen,
}

/// A sentence for each directory with a script that every client is denied. `is_file`: whether there is such a file.
pub fn denied(mounts: &[Mount], tree: &[ConfigLine], is_file: &dyn Fn(&Path) -> bool) -> Vec<String> {
    if mentions(tree, "AccessFileName") {
        return Vec::new();
    }
    let mut known: Vec<&Path> = Vec::new();
    let mut sentences = Vec::new();
    for mount in mounts.iter().filter(|mount| mount.maps_urls) {
        let path = Path::new(OsStr::from_bytes(&mount.path));
        let Some(directory) = path.parent() else { continue };
        if path.to_str().is_none_or(|path| path.contains("..")) {
            continue;
        }
        let has_htaccess = || path.ancestors().any(|place| is_file(&place.join(".htaccess")));
        if known.contains(&directory) || has_htaccess() {
            continue;
        }
        if let Some(place) = denial(mount, path, tree) {
            known.push(directory);
            sentences.push(format!(
                "{}: every request gets 403, because \"Require all denied\" at {place} is the only Require for {}; to mend \
                 it: add <Directory \"{}\"> with Require all granted",
                mount.from,
                shown(&mount.path),
                directory.display()
            ));
        }
    }
    sentences
}

/// Where the line stands that denies everybody the script of `mount`.
fn denial(mount: &Mount, path: &Path, tree: &[ConfigLine]) -> Option<String> {
    // Virtual hosts hold the main server's aliases, so a section in any of them may open such an alias.
    let is_of_all = mount.server == ServerKey::MAIN;
    let hosts = tree.iter().filter(|line| is(line, "<VirtualHost"));
    let hosts = hosts.filter(|host| is_of_all || host.opens == Some(mount.server));
    let all: Vec<(usize, &ConfigLine)> = tree
        .iter()
        .map(|line| (0, line))
        .chain(hosts.flat_map(|host| host.inside.iter().map(|line| (1, line))))
        .collect();
    let mut decides: Option<(usize, String)> = None;
    let mut opened: Option<usize> = None;
    for (host, line) in all {
        let Some(depth) = depth(line, mount, path) else { continue };
        match rule(&line.inside) {
            Rule::Silent => {}
            Rule::Denies(_) if depth == ANYWHERE || (is_of_all && host == 1) => {}
            Rule::MayOpen if depth == ANYWHERE || (is_of_all && host == 1) => return None,
            Rule::MayOpen => opened = opened.max(Some(depth)),
            // httpd merges the sections from the shortest path to the longest; the last one with a Require decides.
            Rule::Denies(place) if decides.as_ref().is_none_or(|(known, _)| *known <= depth) => {
                decides = Some((depth, place));
            }
            Rule::Denies(_) => {}
        }
    }
    decides.filter(|(depth, _)| opened.is_none_or(|opened| opened < *depth)).map(|(_, place)| place)
}

/// The depth of sections that httpd merges after all directories.
const ANYWHERE: usize = usize::MAX;

/// How many names the path of a section has whose lines hold for the script, or [`ANYWHERE`] if they may hold for it.
fn depth(line: &ConfigLine, mount: &Mount, path: &Path) -> Option<usize> {
    let args = line.args.trim().trim_end_matches('>').trim();
    let text = args.trim_matches('"').trim_matches('\'');
    let fixed = text.find(['*', '?', '[']).map_or(text, |at| &text[..at]);
    if is(line, "<Directory") && !args.starts_with('~') {
        if fixed.len() < text.len() {
            return path.as_os_str().as_bytes().starts_with(fixed.as_bytes()).then_some(ANYWHERE);
        }
        let section = Path::new(text);
        if section.starts_with(path) && section != path || text.contains("..") {
            // A part of a directory of scripts; or a path that httpd sees otherwise.
            return Some(ANYWHERE);
        }
        return path.starts_with(section).then(|| section.components().count());
    }
    if is(line, "<Location") && !args.starts_with('~') {
        // A place with a handler of its own, as /server-status, is none of the application's.
        let has_other_handler = |inner: &ConfigLine| is(inner, "SetHandler") && !inner.args.contains("wsgi-script");
        return (!line.inside.iter().any(has_other_handler) && overlap(&mount.url, fixed)).then_some(ANYWHERE);
    }
    let may_hold = ["<Directory", "<DirectoryMatch", "<Location", "<LocationMatch", "<Files", "<FilesMatch"];
    let conditions = ["<If", "<ElseIf", "<Else"];
    may_hold.iter().chain(&conditions).any(|name| is(line, name)).then_some(ANYWHERE)
}

/// Whether one of two URL prefixes begins with the other one.
fn overlap(url: &[u8], other: &str) -> bool {
    url.starts_with(other.as_bytes()) || other.as_bytes().starts_with(url)
}

fn rule(lines: &[ConfigLine]) -> Rule {
    let mut rule = Rule::Silent;
    for line in lines {
        let found = if is(line, "Require") && line.args.trim().eq_ignore_ascii_case("all denied") {
            Rule::Denies(line.place.clone())
        } else if ["Require", "Allow", "Satisfy", "AuthMerging"].iter().any(|name| is(line, name)) {
            Rule::MayOpen
        } else {
            match self::rule(&line.inside) {
                // <Limit>, <Files> and the like hold for some requests only.
                Rule::Denies(_) if !line.name.to_ascii_lowercase().starts_with("<require") => Rule::Silent,
                found => found,
            }
        };
        rule = match (rule, found) {
            (Rule::MayOpen, _) | (_, Rule::MayOpen) => return Rule::MayOpen,
            (Rule::Silent, found) => found,
            (known, _) => known,
        };
    }
    rule
}

fn mentions(lines: &[ConfigLine], name: &str) -> bool {
    lines.iter().any(|line| is(line, name) || mentions(&line.inside, name))
}

fn is(line: &ConfigLine, name: &str) -> bool {
    line.name.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::Text;

    /// Reads lines as httpd would; the number of a line is its place.
    fn read(lines: &mut dyn Iterator<Item = (usize, &str)>) -> Vec<ConfigLine> {
        let mut all = Vec::new();
        while let Some((at, text)) = lines.next() {
            if text.trim().starts_with("</") {
                break;
            }
            let (name, args) = text.trim().split_once(' ').expect("name and arguments");
            let inside = if name.starts_with('<') { read(lines) } else { Vec::new() };
            let opens = (name == "<VirtualHost").then_some(ServerKey(at + 1));
            let (name, args, place) = (name.to_owned(), args.to_owned(), (at + 1).to_string());
            all.push(ConfigLine { name, args, place, opens, inside });
        }
        all
    }

    fn of(server: usize, url: &str, text: &str) -> Option<String> {
        let tree = read(&mut text.split('|').enumerate());
        let text = |text: &str| Text::from(text.as_bytes());
        let mount = Mount {
            path: text("/srv/shop/app.wsgi"),
            from: "WSGIScriptAlias".into(),
            group: None,
            is_named: None,
            maps_urls: true,
            server: ServerKey(server),
            url: text(url),
        };
        let told = denied(std::slice::from_ref(&mount), &tree, &|_| false);
        assert!(denied(&[mount], &tree, &|path| path == Path::new("/srv/.htaccess")).is_empty());
        let place =
            told.first().map(|told| told.split(" at ").nth(1).expect("place").split(' ').next().expect("place"));
        place.map(str::to_owned)
    }

    const ROOT: &str = "<Directory />|Require all denied|</Directory>";

    #[test]
    fn a_script_without_a_section_is_denied_by_the_root_s() {
        let place = Some("2".to_owned());
        assert_eq!(of(0, "/", ROOT), place);
        assert_eq!(of(0, "/", &format!("{ROOT}|<Directory /srv/shops>|Require all granted|</Directory>")), place);
        let files = "<FilesMatch ^.ht>|Require all denied|</FilesMatch>";
        let status = "<Location /server-status>|SetHandler server-status|Require local|</Location>";
        let home = "<Directory /home/*/public_html>|Require method GET|</Directory>";
        assert_eq!(of(0, "/", &format!("{ROOT}|{files}|{status}|{home}")), place);
        assert_eq!(of(0, "/shop", &format!("{ROOT}|<Location /blog>|Require all granted|</Location>")), place);
        assert_eq!(
            of(0, "/", &format!("{ROOT}|<Directory \"/srv\">|require ALL denied|</Directory>")),
            Some("5".into())
        );
        let some = "<Directory /srv/shop>|<LimitExcept GET>|Require all denied|</LimitExcept>|</Directory>";
        assert_eq!((of(0, "/", some), of(0, "/", &format!("{ROOT}|{some}"))), (None, place.clone()));
        let opened = "<Directory /srv>|Require all granted|</Directory>";
        let closed = "<Directory /srv/shop>|Require all denied|</Directory>";
        assert_eq!(of(0, "/", &format!("{ROOT}|{opened}|{closed}")), Some("8".into()));
    }

    #[test]
    fn whatever_may_open_it_keeps_the_doctor_silent() {
        assert_eq!(of(0, "/", "Listen 80"), None);
        for opened in [
            "<Directory /srv/shop>|Require all granted|</Directory>",
            "<Directory \"/srv/shop/\">|<RequireAny x>|Require ip 10|</RequireAny>|</Directory>",
            "<Directory />|Satisfy any|</Directory>",
            "<Directory /srv/*>|Require all granted|</Directory>",
            "<Directory ~ ^/srv>|Require all granted|</Directory>",
            "<DirectoryMatch ^/srv>|Require all granted|</DirectoryMatch>",
            "<Location />|Require valid-user|</Location>",
            "<Location /shop/cart>|Require all granted|</Location>",
            "<Files app.wsgi>|Require all granted|</Files>",
            "<If true>|Require all granted|</If>",
            "<Location /shop>|SetHandler wsgi-script|Require all granted|</Location>",
            "<Directory /srv/../srv/shop>|Require all granted|</Directory>",
            "<Directory /srv/shop/app.wsgi/part>|Require all granted|</Directory>",
            "AccessFileName .access",
        ] {
            assert_eq!(of(0, "/shop", &format!("{ROOT}|{opened}")), None, "{opened}");
        }
    }

    #[test]
    fn sections_hold_for_the_host_that_they_stand_in() {
        let opened = "<Directory /srv/shop>|Require all granted|</Directory>";
        let text =
            format!("{ROOT}|<VirtualHost *:80>|{opened}|</VirtualHost>|<VirtualHost *:81>|Listen 1|</VirtualHost>");
        assert_eq!((of(4, "/", &text), of(9, "/", &text)), (None, Some("2".into())));
        // The first host has the main server's alias as well.
        assert_eq!(of(0, "/", &text), None);
        let closed = "<Directory /srv/shop>|Require all denied|</Directory>";
        assert_eq!(of(0, "/", &format!("{opened}|<VirtualHost *:80>|{closed}|</VirtualHost>")), None);
    }
}
