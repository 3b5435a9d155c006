//! Tests of the walk and of the known last words, in a directory tree made for each test.

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let root = std::env::temp_dir().join(format!("wsgi-diagnose-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("venv/bin")).expect("tree");
        let tree = Tree(fs::canonicalize(&root).expect("tree"));
        tree.file("venv/bin/python", 0o755);
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("mode");
    }

    fn file(&self, name: &str, mode: u32) {
        fs::write(self.path(name), "#!/bin/sh\n").expect("file");
        self.mode(name, mode);
    }

    fn walker(groups: Vec<u32>) -> Walker {
        let ids = Ids { uid: 4_000_000, gid: 4_000_000, groups };
        Walker { root: PathBuf::from("/"), host: PathBuf::from("/"), ids, user: "web".to_owned() }
    }

    fn walk(&self, name: &str) -> String {
        Self::walker(Vec::new())
            .walk(&self.path(name), Right::Execute)
            .err()
            .map_or_else(String::new, |it| it.to_string())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.mode("venv", 0o755);
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_first_obstacle_is_named() {
    let tree = Tree::new("walk");
    let at = |name: &str| tree.path(name).display().to_string();
    assert_eq!(tree.walk("venv/bin/python"), "");
    assert_eq!(
        tree.walk("venv/lib/python"),
        format!("{} does not exist, on the way to {}", at("venv/lib"), at("venv/lib/python"))
    );
    assert_eq!(tree.walk("venv/bin/python3"), format!("{} does not exist", at("venv/bin/python3")));
    assert_eq!(tree.walk("venv/bin"), format!("{} is a directory, not a program", at("venv/bin")));
    tree.mode("venv/bin/python", 0o700);
    assert!(
        tree.walk("venv/bin/python")
            .starts_with(&format!("user \"web\" may not execute {} (owner", at("venv/bin/python")))
    );
    tree.mode("venv", 0o750);
    let found = tree.walk("venv/bin/python");
    assert!(found.starts_with(&format!("user \"web\" may not enter the directory {} (owner", at("venv"))), "{found}");
    assert!(found.ends_with(&format!("mode 0750); to mend it: chmod o+x {}", at("venv"))), "{found}");
}

#[test]
fn a_group_s_rights_count() {
    let tree = Tree::new("group");
    tree.mode("venv/bin/python", 0o710);
    let gid = fs::metadata(tree.path("venv/bin/python")).expect("stat").gid();
    let walker = Tree::walker(vec![gid]);
    assert_eq!(walker.walk(&tree.path("venv/bin/python"), Right::Execute), Ok(()));
    let problem = walker.walk(&tree.path("venv/bin/python"), Right::Read).expect_err("no right to read");
    assert!(problem.mend.expect("a command").starts_with("chmod g+r /"));
}

#[test]
fn directories_and_files_are_told_apart() {
    let tree = Tree::new("kinds");
    let walker = Tree::walker(Vec::new());
    let what = |name: &str, right| walker.walk(&tree.path(name), right).map_err(|problem| problem.what);
    let at = |name: &str| tree.path(name).display().to_string();
    assert_eq!(what("venv", Right::Enter), Ok(()));
    assert_eq!(what("venv", Right::Read), Err(format!("{} is a directory, not a file", at("venv"))));
    assert_eq!(what("venv/bin/python", Right::Enter), Err(format!("{} is not a directory", at("venv/bin/python"))));
    tree.mode("venv", 0o711);
    assert_eq!(what("venv", Right::Enter), Ok(()));
    assert!(what("venv", Right::List).expect_err("no right to read").contains("may not read the directory"));
}

#[test]
fn paths_begin_at_the_root_directory_of_the_group() {
    let tree = Tree::new("root");
    symlink("/venv/bin/python", tree.path("py")).expect("link");
    symlink("/no/such", tree.path("lost")).expect("link");
    let walker = Walker { root: tree.0.clone(), host: tree.0.clone(), ..Tree::walker(Vec::new()) };
    assert_eq!(walker.walk(Path::new("/py"), Right::Execute), Ok(()));
    assert_eq!(walker.walk(Path::new("/../../venv/../py"), Right::Execute), Ok(()));
    let root = tree.0.display();
    let problem = walker.walk(Path::new("/usr/bin/python"), Right::Execute).expect_err("not in there");
    assert_eq!(problem.what, format!("{root}/usr does not exist, on the way to {root}/usr/bin/python"));
    let problem = walker.walk(Path::new("/lost"), Right::Execute).expect_err("dangling");
    assert_eq!(problem.what, format!("{root}/lost is a symbolic link to /no/such, which does not exist"));
}

#[test]
fn from_inside_of_a_root_directory_places_are_told_as_from_outside() {
    let tree = Tree::new("inside");
    let walker = Walker { host: PathBuf::from("/srv/jail"), ..Tree::walker(Vec::new()) };
    let place = tree.path("venv").display().to_string();
    tree.mode("venv", 0o700);
    let problem = walker.walk(&tree.path("venv/bin"), Right::Enter).expect_err("closed");
    assert!(problem.what.contains(&format!("may not enter the directory /srv/jail{place} (")), "{problem}");
    assert_eq!(problem.mend, Some(format!("chmod o+x /srv/jail{place}")));
    let problem = walker.walk(Path::new("/no/such"), Right::Read).expect_err("missing");
    assert_eq!(problem.what, "/srv/jail/no does not exist, on the way to /srv/jail/no/such");
}

#[test]
fn a_command_takes_a_path_for_one_word() {
    assert_eq!(quoted(Path::new("/srv/x_1.2-3")), "/srv/x_1.2-3");
    assert_eq!(quoted(Path::new("/srv/my site")), "'/srv/my site'");
    assert_eq!(quoted(Path::new("/srv/it's")), "'/srv/it'\\''s'");
}

#[test]
fn a_virtual_environment_remembers_its_python() {
    let tree = Tree::new("version");
    let python = tree.path("venv/bin/python");
    assert_eq!(version_differs(&python, (3, 11)), None);
    fs::write(tree.path("venv/pyvenv.cfg"), "home = /usr/bin\nversion = 3.9.2\n").expect("file");
    assert_eq!(version_differs(&python, (3, 9)), None);
    let problem = version_differs(&python, (3, 13)).expect("another one");
    assert!(problem.what.contains("was made by Python 3.9.2, and its Python is 3.13 now"), "{problem}");
    fs::write(tree.path("venv/pyvenv.cfg"), "version_info = 3.12.0.final.0\n").expect("file");
    assert!(version_differs(&python, (3, 13)).is_some() && version_differs(&python, (3, 12)).is_none());
    assert_eq!(base_is_gone(&python), None);
}

#[test]
fn a_directory_of_modules_may_belong_to_another_python() {
    for (path, other) in [
        ("/srv/venv/lib/python3.9/site-packages", true),
        ("/usr/lib64/python3.9", true),
        ("/opt/python3.9/site-packages/", true),
        ("/srv/venv/lib/python3.11/site-packages", false),
        ("/usr/lib/python3/dist-packages", false),
        ("/home/web/python3.9/shop", false),
        ("/srv/lib/python3.9-shop", false),
        ("/srv/shop", false),
    ] {
        assert_eq!(of_another_version(Path::new(path), (3, 11)).is_some(), other, "{path}");
    }
    let tree = Tree::new("another");
    let path = tree.path("venv/lib/python3.9/site-packages");
    let text = || of_another_version(&path, (3, 11)).expect("another one").to_string();
    let found = text();
    assert!(found.contains("holds modules of Python 3.9, and Python 3.11 runs here"), "{found}");
    assert!(found.ends_with("; name the directory of Python 3.11"), "{found}");
    fs::write(tree.path("venv/pyvenv.cfg"), "home = /usr/bin\nversion = 3.9.2\n").expect("file");
    let (found, home) = (text(), tree.path("venv").display().to_string());
    assert!(found.ends_with(&format!("; let python-home or WSGIPythonHome name {home} in its place")), "{found}");
}

#[test]
fn what_a_process_goes_without_is_told_with_option_and_cause() {
    let mut config = crate::example::group();
    (config.cpu_priority, config.memory_limit) = (Some(-5), 4096);
    let text = |step, errno| went_without(&config, 12, step, &std::io::Error::from_raw_os_error(errno));
    let line = text(Step::Priority, libc::EACCES);
    assert!(
        line.starts_with("process group \"site\" (defined at httpd.conf:3): process 12 runs without cpu-priority=-5"),
        "{line}"
    );
    assert!(line.contains("only root may raise the priority"), "{line}");
    assert!(text(Step::DataLimit, libc::EPERM).contains("without memory-limit=4096: setrlimit(RLIMIT_DATA) failed"));
    assert!(text(Step::DataLimit, libc::EACCES).contains("httpd_setrlimit"));
}

#[test]
fn a_memory_limit_is_suspected() {
    let mut config = crate::example::group();
    config.virtual_memory_limit = 1 << 20;
    let text = early_exit(&config, Ended::Signal(11), &[], "");
    assert!(text.contains("virtual-memory-limit=1048576 bytes may be too little"), "{text}");
    let output = ["MemoryError".to_owned()];
    assert!(early_exit(&config, Ended::Status(1), &output, "MemoryError").contains("may be too little"));
}

#[test]
fn links_are_followed_and_dangling_ones_named() {
    let tree = Tree::new("links");
    symlink("python", tree.path("venv/bin/python3")).expect("link");
    symlink("../../venv/bin/python3", tree.path("venv/bin/again")).expect("link");
    assert_eq!(tree.walk("venv/bin/again"), "");
    symlink("/no/such/python3.9", tree.path("venv/bin/old")).expect("link");
    let old = tree.path("venv/bin/old").display().to_string();
    assert_eq!(
        tree.walk("venv/bin/old"),
        format!("{old} is a symbolic link to /no/such/python3.9, which does not exist")
    );
    fs::write(tree.path("venv/pyvenv.cfg"), "home = /no/such\n").expect("file");
    assert!(tree.walk("venv/bin/old").contains("; to mend it: python3 -m venv --clear "));
    symlink("loop", tree.path("venv/bin/loop")).expect("link");
    assert!(tree.walk("venv/bin/loop").contains("too many symbolic links"), "{}", tree.walk("venv/bin/loop"));
}

#[test]
fn a_link_that_leads_to_a_closed_place_is_named() {
    let tree = Tree::new("away");
    fs::create_dir_all(tree.path("away/bin")).expect("directory");
    tree.file("away/bin/python3", 0o755);
    symlink(tree.path("away/bin/python3"), tree.path("venv/bin/python3")).expect("link");
    assert_eq!(tree.walk("venv/bin/python3"), "");
    tree.mode("away", 0o700);
    let (away, link) = (tree.path("away").display().to_string(), tree.path("venv/bin/python3").display().to_string());
    let found = tree.walk("venv/bin/python3");
    let end = format!("; the symbolic link {link} leads there; to mend it: chmod o+x {away}");
    assert!(found.contains(&format!("may not enter the directory {away} (")) && found.ends_with(&end), "{found}");
}

#[test]
fn last_words_are_explained() {
    let tree = Tree::new("words");
    let mut config = crate::example::group();
    config.python = tree.path("venv/bin/python").display().to_string();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let output = lines("Fatal Python error: x\nModuleNotFoundError: No module named 'encodings'");
    let text = early_exit(&config, Ended::Status(1), &output, "");
    assert!(text.contains("does not find its standard library"), "{text}");
    let text = early_exit(&config, Ended::Status(64), &lines("version 1 is not 2"), "");
    assert!(text.contains("does not fit this Python (exited with status 64); it wrote:\nversion 1 is not 2"), "{text}");
    let text = early_exit(&config, Ended::Signal(11), &[], "");
    assert_eq!(text, "it ended before it was ready (killed by SIGSEGV) and wrote nothing");
    fs::write(tree.path("venv/pyvenv.cfg"), "home = /no/such\n").expect("file");
    let text = early_exit(&config, Ended::Status(1), &[], "boom");
    assert!(text.contains("names home = /no/such, which does not exist"), "{text}");
}

#[test]
fn failed_steps_are_explained() {
    let mut config = crate::example::group();
    config.python = "/no/such/python".to_owned();
    let error = || std::io::Error::from_raw_os_error(libc::ENOENT);
    assert_eq!(step(&config, Step::Exec, &error()), "/no does not exist, on the way to /no/such/python");
    config.home = Some("/no/home".to_owned());
    let text = step(&config, Step::Directory, &error());
    assert_eq!(text, "cannot change to the directory /no/home (home=): /no does not exist, on the way to /no/home");
}

#[test]
fn an_environment_s_owner_cannot_hold_the_supervisor_up() {
    let tree = Tree::new("pipe");
    let made = std::process::Command::new("mkfifo").arg(tree.path("venv/pyvenv.cfg")).status().expect("mkfifo");
    assert!(made.success());
    assert_eq!(base_is_gone(&tree.path("venv/bin/python")), None);
    fs::remove_file(tree.path("venv/pyvenv.cfg")).expect("remove");
    symlink("/dev/zero", tree.path("venv/pyvenv.cfg")).expect("link");
    assert_eq!(base_is_gone(&tree.path("venv/bin/python")), None);
}

#[test]
fn a_home_that_is_an_interpreter_is_known() {
    let tree = Tree::new("home");
    let python = tree.path("venv/bin/python").display().to_string();
    let home = tree.path("venv").display().to_string();
    let problem = |given: &str, home: &str| {
        let python_from = format!("{given}{home}");
        let config = GroupConfig { python: format!("{home}/bin/python3"), python_from, ..crate::example::group() };
        home_is_a_file(&config.python, &config.python_from, Path::new("/")).map(|problem| problem.to_string())
    };
    let found = problem("python-home=", &python).expect("a file");
    assert!(found.starts_with(&format!("python-home={python} is a file")), "{found}");
    assert!(found.ends_with(&format!("write python={python} (for this interpreter) or python-home={home}")), "{found}");
    let found = problem("WSGIPythonHome ", &python).expect("a file");
    assert!(found.ends_with(&format!("; write WSGIPythonHome {home}")), "{found}");
    assert_eq!((problem("python-home=", &home), problem("python-home=", "/no/such")), (None, None));
    let plain = GroupConfig { python: format!("{python}/bin/python3"), ..crate::example::group() };
    assert_eq!(home_is_a_file(&plain.python, &plain.python_from, Path::new("/")), None, "python= says what it means");
}
