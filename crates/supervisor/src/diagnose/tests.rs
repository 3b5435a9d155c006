//! Tests of the walk and of the known last words, in a directory tree made for each test.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

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

    fn walk(&self, name: &str) -> String {
        let stranger = Ids { uid: 4_000_000, gid: 4_000_000, groups: Vec::new() };
        walk(&self.path(name), &stranger, "web", Right::Execute).err().unwrap_or_default()
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
    let said = tree.walk("venv/bin/python");
    assert!(said.starts_with(&format!("user \"web\" may not enter the directory {} (owner", at("venv"))), "{said}");
    assert!(said.ends_with("mode 0750)"), "{said}");
}

#[test]
fn a_group_s_rights_count() {
    let tree = Tree::new("group");
    tree.mode("venv/bin/python", 0o710);
    let gid = fs::metadata(tree.path("venv/bin/python")).expect("stat").gid();
    let ids = Ids { uid: 4_000_000, gid: 4_000_000, groups: vec![gid] };
    assert_eq!(walk(&tree.path("venv/bin/python"), &ids, "web", Right::Execute), Ok(()));
    assert!(walk(&tree.path("venv/bin/python"), &ids, "web", Right::Read).is_err());
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
    assert!(tree.walk("venv/bin/old").ends_with("make the environment anew"));
    symlink("loop", tree.path("venv/bin/loop")).expect("link");
    assert!(tree.walk("venv/bin/loop").contains("too many symbolic links"), "{}", tree.walk("venv/bin/loop"));
}

#[test]
fn last_words_are_explained() {
    let tree = Tree::new("words");
    let mut config = crate::example::pool();
    config.python = tree.path("venv/bin/python").display().to_string();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let said = lines("Fatal Python error: x\nModuleNotFoundError: No module named 'encodings'");
    let text = early_exit(&config, Ended::Status(1), &said, "");
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
    let mut config = crate::example::pool();
    config.python = "/no/such/python".to_owned();
    let error = || std::io::Error::from_raw_os_error(libc::ENOENT);
    assert_eq!(step(&config, Step::Exec, &error()), "/no does not exist, on the way to /no/such/python");
    config.home = Some("/no/home".to_owned());
    let text = step(&config, Step::Directory, &error());
    assert_eq!(text, "cannot change to the directory /no/home (home=): /no does not exist, on the way to /no/home");
}
