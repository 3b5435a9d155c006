//! Which application of a process group `warmup=` is for.

use super::group_scripts::{OnlyScript, Preload, Served};
use crate::directive::Text;

/// The application that a warmup request calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'c> {
    /// The script.
    pub script: &'c Text,
    /// The application group, where it is fixed before the request.
    pub application_group: Option<&'c Text>,
    /// Whether the script is the only one of its process group, and so in the main interpreter.
    pub is_main: bool,
    /// The callable, where the configuration fixes it before the request.
    pub callable_object: Option<&'c Text>,
    /// The URL prefix, if one leads to it.
    pub prefix: Option<&'c Text>,
}

/// The only script of the process group, else the only one that serves requests and is loaded at the start.
/// `preloads` are those of the process group.
pub fn warmup_target<'c>(only_script: Option<&'c OnlyScript>, preloads: &[&'c Preload]) -> Option<Target<'c>> {
    if let Some(OnlyScript { path, callable_object, prefix }) = only_script {
        let preloaded = preloads.iter().find(|preload| preload.path == *path);
        return Some(Target {
            script: path,
            application_group: preloaded.map(|preload| &preload.application_group),
            is_main: true,
            callable_object: callable_object.as_ref(),
            prefix: prefix.as_ref(),
        });
    }
    let mut serving = preloads.iter().filter_map(|preload| Some((*preload, preload.served.as_ref()?)));
    let (Preload { path, application_group, .. }, Served { callable_object, prefix }) = serving.next()?;
    serving.next().is_none().then_some(Target {
        script: path,
        application_group: Some(application_group),
        is_main: false,
        callable_object: callable_object.as_ref(),
        prefix: prefix.as_ref(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text {
        Text::from(text.as_bytes())
    }

    fn preload(path: &str, serves: bool) -> Preload {
        let served = serves.then(|| Served { callable_object: Some(text("app")), prefix: Some(text("/x")) });
        Preload { path: text(path), process_group: text("g"), application_group: text("one"), served }
    }

    #[test]
    fn a_script_that_is_alone_is_meant() {
        let only_script = OnlyScript { path: text("/a"), callable_object: None, prefix: Some(text("/")) };
        let target = warmup_target(Some(&only_script), &[]).unwrap();
        assert_eq!((target.script, target.application_group, target.is_main), (&text("/a"), None, true));
        let preload = preload("/a", true);
        let target = warmup_target(Some(&only_script), &[&preload]).unwrap();
        assert_eq!((target.application_group, target.is_main), (Some(&text("one")), true));
    }

    #[test]
    fn else_the_only_one_that_is_loaded_at_the_start_and_serves() {
        let (imported, serving, other) = (preload("/i", false), preload("/a", true), preload("/b", true));
        let target = warmup_target(None, &[&imported, &serving]).unwrap();
        assert_eq!((target.script, target.is_main), (&text("/a"), false));
        assert_eq!((target.callable_object, target.prefix), (Some(&text("app")), Some(&text("/x"))));
        assert_eq!(warmup_target(None, &[&serving, &other]), None);
        assert_eq!(warmup_target(None, &[&imported]), None);
    }
}
