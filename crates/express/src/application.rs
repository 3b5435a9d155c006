//! What the argument of the command names: a script, a module, a Paste ini file, or static files. Pure.

use std::path::{Path, PathBuf};

use crate::facts::{Facts, Lies};
use crate::options::cli::Given;
use crate::plan::{absolute, path_text};
use crate::problem::Problem;

/// The application as `handler.wsgi` gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    /// `script`, `module`, `paste` or `static`.
    pub kind: &'static str,
    /// The absolute path, or the dotted name of the module.
    pub target: String,
    /// The name of the callable; of a module it may have dots.
    pub callable: String,
    /// Whether the callable returns the application.
    pub factory: bool,
    /// The directory that the argument names, if there are only static files.
    pub static_root: Option<PathBuf>,
    /// Whether nothing was named: the server shows a page of its own.
    pub is_default: bool,
}

impl Application {
    /// Whether there are only static files.
    pub fn is_static(&self) -> bool {
        self.kind == "static"
    }
}

/// The application that the options name.
pub fn of(given: &Given, facts: &Facts, root: &Path) -> Result<Application, Problem> {
    let callable = given.text("callable-object").unwrap_or_default().to_owned();
    let entry = given.given("entry-point").or(given.entry.as_deref());
    let named = given.given("application-type");
    let plain = |kind, target| Application {
        kind,
        target,
        callable: callable.clone(),
        factory: false,
        static_root: None,
        is_default: false,
    };
    let Some(entry) = entry else {
        return Ok(match named {
            Some("static") => {
                Application { static_root: Some(facts.directory.clone()), ..plain("static", String::new()) }
            }
            _ => Application { is_default: true, ..plain("script", path_text(&root.join("default.wsgi"))) },
        });
    };
    let path = absolute(facts, entry);
    let kind = named.map_or_else(|| guess(entry, (facts.lies)(&path)), str::to_owned);
    let missing = |what: &str| {
        Problem::new(
            format!("there is no {what} {}", path.display()),
            "name a .wsgi file, a module as package.module:application, a Paste .ini file, or a directory",
        )
    };
    match (kind.as_str(), (facts.lies)(&path)) {
        ("script", Lies::File) => Ok(plain("script", path_text(&path))),
        ("script", _) => Err(missing("file")),
        ("module", _) => module(entry, &callable).map(|(target, callable, factory)| Application {
            factory,
            callable,
            ..plain("module", target)
        }),
        ("paste", Lies::File) => Ok(plain("paste", path_text(&path))),
        ("paste", _) => Err(missing("file")),
        ("static", Lies::Directory) => Ok(Application { static_root: Some(path), ..plain("static", String::new()) }),
        ("static", _) => Err(missing("directory")),
        (other, _) => Err(Problem::new(
            format!("--application-type {other} is unknown"),
            "allowed are script, module, paste and static",
        )),
    }
}

fn guess(entry: &str, lies: Lies) -> String {
    let kind = match lies {
        Lies::Directory => "static",
        Lies::File if entry.ends_with(".ini") => "paste",
        Lies::Nothing if module(entry, "").is_ok() && entry.contains(':') => "module",
        _ => "script",
    };
    kind.to_owned()
}

/// `NAME`, `NAME:CALLABLE` or `NAME:FACTORY()`: the module, the callable, whether it is a factory.
fn module(entry: &str, callable: &str) -> Result<(String, String, bool), Problem> {
    let (name, after) = entry.split_once(':').map_or((entry, None), |(name, after)| (name, Some(after)));
    let (callable, factory) = match after {
        Some(after) => after.strip_suffix("()").map_or((after, false), |name| (name, true)),
        None => (callable, false),
    };
    let is_name = |text: &str| {
        text.split('.').all(|part| {
            part.starts_with(|c: char| c.is_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_alphanumeric() || c == '_')
        })
    };
    match is_name(name) && (is_name(callable) || after.is_none()) {
        true => Ok((name.to_owned(), callable.to_owned(), factory)),
        false => Err(Problem::new(
            format!("{entry} is no name of a module"),
            "write package.module, package.module:application or package.module:make_application()",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::cli::tests::parsed;
    use crate::testing::facts;

    fn found(line: &[&str]) -> Result<Application, Problem> {
        of(&parsed(line), &facts(), Path::new("/root"))
    }

    #[test]
    fn the_argument_tells_what_it_is() {
        for (entry, kind, target) in [
            ("app.wsgi", "script", "/srv/app.wsgi"),
            ("./app.wsgi", "script", "/srv/app.wsgi"),
            ("site.ini", "paste", "/srv/site.ini"),
            ("pages", "static", ""),
            ("pkg.module:app", "module", "pkg.module"),
        ] {
            let found = found(&[entry]).unwrap();
            assert_eq!((found.kind, found.target.as_str()), (kind, target), "{entry}");
        }
    }

    #[test]
    fn modules_have_callables_and_factories() {
        let found = |entry| found(&[entry, "--application-type", "module", "--callable-object", "main"]).unwrap();
        assert_eq!((found("a.b").callable, found("a.b").factory), ("main".to_owned(), false));
        assert_eq!(found("a.b:c.d").callable, "c.d");
        assert_eq!((found("a.b:make()").callable, found("a.b:make()").factory), ("make".to_owned(), true));
    }

    #[test]
    fn what_is_not_there_has_a_cure() {
        for (line, cause) in [
            (&["none.wsgi"][..], "no file /srv/none.wsgi"),
            (&["a b:c", "--application-type", "module"], "a b:c is no name of a module"),
            (&["app.wsgi", "--application-type", "ruby"], "ruby is unknown"),
            (&["none", "--application-type", "static"], "no directory /srv/none"),
        ] {
            let problem = found(line).unwrap_err();
            assert!(problem.cause.contains(cause), "{problem}");
        }
    }

    #[test]
    fn without_an_argument_there_is_a_page_or_the_directory() {
        assert!(found(&[]).unwrap().is_default);
        assert_eq!(found(&["--application-type", "static"]).unwrap().static_root, Some("/srv".into()));
        assert_eq!(found(&["x", "--entry-point", "app.wsgi"]).unwrap().target, "/srv/app.wsgi");
    }
}
