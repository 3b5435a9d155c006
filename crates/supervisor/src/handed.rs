//! Which scripts the daemon processes have loaded because requests asked for them, and which of these scripts a new
//! process loads before it is ready. Pure.
//!
//! The supervisor believes what a process says about itself only so far: it hands these scripts to processes of the
//! same group and user, within the limits below. After a change of configuration it hands on a script only if the new
//! configuration says the same about it as the old one. So a script that the administrator took out of the
//! configuration cannot hold up a start.

#![forbid(unsafe_code)]

use wsgi_wire::config::{Preload, Target};
use wsgi_wire::loaded::Loaded;

use crate::decide::Millis;

/// How many scripts the supervisor keeps of a process, and hands on, at most.
pub const MOST: usize = 64;
/// How many bytes the names of these scripts may take.
pub const MOST_BYTES: usize = 32 << 10;
/// The supervisor hands on a script for this long after the last request for it, if only earlier processes got such
/// requests. Without this memory, a script that is asked for every ten minutes would be loaded anew for each request where
/// a process is replaced every minute (`maximum-requests`). It ends, because an interpreter takes memory, and perhaps no address leads to its script any more.
pub const KEPT: Millis = 24 * 60 * 60 * 1000;

/// A script that a process is to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// File and application group. `serves`: if the process cannot load it, the process has failed.
    pub script: Preload,
    /// When a request for it last came to a process, as far as is known.
    pub asked_at: Millis,
}

impl Handed {
    fn is(&self, other: &Handed) -> bool {
        self.script.script == other.script.script && self.script.application_group == other.script.application_group
    }
}

/// What the supervisor knows about the scripts of a process.
#[derive(Debug, Default)]
pub struct Known {
    /// The targets of the configuration with which the process was started.
    targets: Vec<Target>,
    since: Since,
    scripts: Vec<Script>,
    bytes: usize,
    /// How many scripts the process has loaded that the configuration names.
    configured: usize,
}

/// What has happened to that configuration since.
#[derive(Debug, Default)]
enum Since {
    /// It is still in force.
    #[default]
    Same,
    /// Other configurations followed; all of them hold these targets.
    Later(Vec<Target>),
    /// The group's processes now run as another user, or in another root directory.
    Foreign,
}

#[derive(Debug)]
struct Script {
    script: String,
    application_group: String,
    /// When a request for it last came to an earlier process, which handed it on.
    asked_at: Millis,
    /// A request for it has come to this process.
    asked: bool,
    loaded: bool,
}

impl Script {
    fn size(&self) -> usize {
        self.script.len() + self.application_group.len()
    }
}

impl Known {
    /// What is known of a process that starts with these targets and gets these scripts.
    pub fn new(targets: &[Target], handed: &[Handed]) -> Known {
        let mut known = Known { targets: targets.to_vec(), ..Known::default() };
        for Handed { script: Preload { script, application_group, .. }, asked_at } in handed {
            let (script, application_group) = (script.clone(), application_group.clone());
            known.add(Script { script, application_group, asked_at: *asked_at, asked: false, loaded: false });
        }
        known
    }

    fn add(&mut self, script: Script) -> bool {
        let fits = self.scripts.len() < MOST && self.bytes + script.size() <= MOST_BYTES;
        if fits {
            self.bytes += script.size();
            self.scripts.push(script);
        }
        fits
    }

    /// The process says that it has loaded a script. The supervisor keeps the script if it fits, and if it was handed
    /// to the process or a request asked for it. Returns whether the start of the process has made progress.
    pub fn note(&mut self, loaded: &Loaded<'_>) -> bool {
        let same = |it: &&mut Script| it.script == loaded.script && it.application_group == loaded.application_group;
        if let Some(found) = self.scripts.iter_mut().find(same) {
            found.asked |= loaded.asked;
            return !std::mem::replace(&mut found.loaded, true);
        }
        if !loaded.asked {
            // The configuration names this script.
            self.configured += 1;
            return self.configured <= MOST;
        }
        let (script, application_group) = (loaded.script.to_owned(), loaded.application_group.to_owned());
        self.add(Script { script, application_group, asked_at: 0, asked: true, loaded: true })
    }

    /// The group has a new configuration, with these targets. `None`: its processes now run as another user or in
    /// another root directory.
    pub fn reconfigured(&mut self, targets: Option<&[Target]>) {
        let before = match &self.since {
            Since::Same => &self.targets,
            Since::Later(left) => left,
            Since::Foreign => return,
        };
        let stays = |targets: &[Target]| before.iter().filter(|it| targets.contains(it)).cloned().collect();
        self.since = targets.map_or(Since::Foreign, |targets| Since::Later(stays(targets)));
    }

    /// Whether a process of the current configuration is to load the script.
    fn stays(&self, script: &str) -> bool {
        let covered = |targets: &[Target]| targets.iter().any(|target| target.covers(script));
        match &self.since {
            Since::Same => true,
            // Otherwise the script was taken out of the configuration, or the configuration now says something else
            // about it. Or a handler leads to it, and only httpd knows whether that still makes it a script.
            Since::Later(left) => covered(left),
            Since::Foreign => false,
        }
    }

    /// The script that a starting process loads next, of the scripts that it was handed.
    pub fn loading(&self) -> Option<&str> {
        self.scripts.iter().find(|it| !it.loaded).map(|it| &*it.script)
    }

    fn scripts(&self, now: Millis) -> impl Iterator<Item = Handed> {
        let asked_at = move |it: &Script| if it.asked { now } else { it.asked_at };
        let wanted = self.scripts.iter().filter(move |it| it.loaded && now.saturating_sub(asked_at(it)) <= KEPT);
        wanted.filter(|it| self.stays(&it.script)).map(move |it| {
            let script =
                Preload { script: it.script.clone(), application_group: it.application_group.clone(), serves: true };
            Handed { script, asked_at: asked_at(it) }
        })
    }
}

/// The scripts that the next process is to load: what these processes have loaded, the oldest process's scripts first.
/// Unless `is_required`, the next process becomes ready even if it cannot load one of them.
pub fn hand_on<'k>(known: impl Iterator<Item = &'k Known>, is_required: bool, now: Millis) -> Vec<Handed> {
    let (mut all, mut bytes): (Vec<Handed>, usize) = (Vec::new(), 0);
    for mut one in known.flat_map(|known| known.scripts(now)) {
        one.script.serves &= is_required;
        if let Some(found) = all.iter_mut().find(|found| found.is(&one)) {
            found.script.serves |= one.script.serves;
            found.asked_at = found.asked_at.max(one.asked_at);
            continue;
        }
        let size = one.script.script.len() + one.script.application_group.len();
        if all.len() < MOST && bytes + size <= MOST_BYTES {
            bytes += size;
            all.push(one);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Millis = 3 * KEPT;

    fn asked(script: &str) -> Loaded<'_> {
        Loaded { asked: true, application_group: "g", script }
    }

    fn target(path: &str, groups_digest: u64) -> Target {
        Target { path: path.to_owned(), groups_digest }
    }

    /// What one process hands on: scripts, with `!` behind a script that must load.
    fn of(known: &Known, is_required: bool, now: Millis) -> Vec<String> {
        let text = |it: &Handed| format!("{}{}", it.script.script, if it.script.serves { "!" } else { "" });
        hand_on([known].into_iter(), is_required, now).iter().map(text).collect()
    }

    #[test]
    fn what_requests_asked_for_is_handed_on() {
        let mut known = Known::new(&[], &[]);
        assert!(known.note(&asked("/a")) && known.note(&asked("/b")));
        assert!(!known.note(&asked("/a")), "no news");
        assert_eq!(of(&known, true, NOW), ["/a!", "/b!"]);
        assert_eq!(of(&known, false, NOW), ["/a", "/b"]);
        let other = Loaded { application_group: "other", ..asked("/a") };
        assert!(known.note(&other), "another interpreter's");
        assert_eq!(of(&known, false, NOW), ["/a", "/b", "/a"]);
    }

    #[test]
    fn what_was_handed_on_is_handed_further_once_it_is_loaded() {
        let mut first = Known::new(&[], &[]);
        first.note(&asked("/a"));
        first.note(&asked("/b"));
        let mut second = Known::new(&[], &hand_on([&first].into_iter(), true, NOW));
        assert_eq!((of(&second, true, NOW), second.loading()), (vec![], Some("/a")));
        assert!(second.note(&Loaded { asked: false, ..asked("/a") }));
        assert!(second.note(&Loaded { asked: false, ..asked("/c") }), "the configuration names it");
        assert_eq!((of(&second, true, NOW), second.loading()), (vec!["/a!".to_owned()], Some("/b")));
        assert_eq!(of(&second, true, NOW + KEPT), ["/a!"]);
        assert_eq!(of(&second, true, NOW + KEPT + 1), [""; 0], "nobody has asked for it since");
        assert!(!second.note(&asked("/a")));
        assert_eq!(of(&second, true, NOW + KEPT + 1), ["/a!"]);
    }

    #[test]
    fn a_new_configuration_gets_what_it_still_names() {
        let mut known = Known::new(&[target("/srv/a", 1), target("/srv/b", 1), target("/srv/dir", 1)], &[]);
        for script in ["/srv/a", "/srv/b", "/srv/dir/c", "/www/d"] {
            known.note(&asked(script));
        }
        known.reconfigured(Some(&[target("/srv/a", 1), target("/srv/dir", 1), target("/srv/e", 1)]));
        assert_eq!(of(&known, true, NOW), ["/srv/a!", "/srv/dir/c!"]);
        assert_eq!(of(&known, false, NOW), ["/srv/a", "/srv/dir/c"]);
        // An old process still gets requests of old children.
        known.note(&asked("/srv/b"));
        assert_eq!(of(&known, false, NOW), ["/srv/a", "/srv/dir/c"]);
        // In another application group the script would run in another interpreter.
        known.reconfigured(Some(&[target("/srv/a", 2), target("/srv/dir", 1), target("/srv/b", 1)]));
        assert_eq!(of(&known, true, NOW), ["/srv/dir/c!"]);
    }

    #[test]
    fn another_user_gets_nothing() {
        let targets = [target("/srv/a", 1)];
        let mut known = Known::new(&targets, &[]);
        known.note(&asked("/srv/a"));
        known.reconfigured(None);
        known.reconfigured(Some(&targets));
        assert_eq!(of(&known, true, NOW), [""; 0]);
    }

    #[test]
    fn several_processes_hand_on_together() {
        let mut all = [Known::new(&[], &[]), Known::new(&[target("/a", 1)], &[])];
        all[0].note(&asked("/b"));
        all[1].note(&asked("/a"));
        all[1].note(&asked("/b"));
        all[1].reconfigured(Some(&[]));
        let found = hand_on(all.iter(), true, NOW);
        let names: Vec<_> = found.iter().map(|it| (it.script.script.as_str(), it.script.serves)).collect();
        assert_eq!(names, [("/b", true)]);
    }

    proptest! {
        #[test]
        fn no_list_grows_beyond_its_limits(
            notes in proptest::collection::vec((0usize..3, any::<bool>(), 0usize..200, 0usize..900), 0..300),
        ) {
            let mut all: Vec<Known> = (0..3).map(|_| Known::new(&[], &[])).collect();
            for (process, asked, number, length) in notes {
                let script = format!("/{number}{}", "x".repeat(length));
                let before = all[process].scripts.len();
                let news = all[process].note(&Loaded { asked, application_group: "", script: &script });
                prop_assert!(all[process].scripts.len() <= before + usize::from(news && asked));
                prop_assert!(!news || asked || all[process].configured <= MOST);
                prop_assert!(all[process].scripts.len() <= MOST);
                let bytes: usize = all[process].scripts.iter().map(Script::size).sum();
                prop_assert!(bytes <= MOST_BYTES && bytes == all[process].bytes);
                let handed = hand_on(all.iter(), true, NOW);
                prop_assert!(handed.len() <= MOST);
                prop_assert!(handed.iter().map(|it| it.script.script.len()).sum::<usize>() <= MOST_BYTES);
                // The next process can keep all of it, and each script once.
                prop_assert_eq!(Known::new(&[], &handed).scripts.len(), handed.len());
                prop_assert!((0..handed.len()).all(|at| !handed[..at].iter().any(|it| it.is(&handed[at]))));
            }
        }
    }
}
