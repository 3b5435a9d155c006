//! Writes the directory of a server: configuration, scripts, directories. `main.rs` calls it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use wsgi_sys::user;

use crate::conf::httpd_conf;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::{docs, scripts};

/// Writes everything. What users may have changed (rewrite.conf, envvars) stays.
pub fn write(plan: &Plan) -> Result<(), Problem> {
    let root = &plan.root;
    make_root(plan)?;
    directory(&plan.document_root)?;
    directory(&plan.logs)?;
    if plan.document_root.starts_with(root) && !plan.mount.is_empty() {
        directory(&plan.document_root.join(plan.mount.trim_start_matches('/')))?;
    }
    let eggs = plan.given.given("python-eggs").map_or_else(|| root.join("python-eggs"), |dir| plan.absolute(dir));
    writable_directory(plan, &eggs)?;
    for (_, path) in scripts::debugging_directories(plan) {
        writable_directory(plan, Path::new(&path))?;
    }
    file(&root.join("httpd.conf"), &httpd_conf(plan))?;
    file(&root.join("handler.wsgi"), &scripts::handler(plan))?;
    file(&root.join("resource.wsgi"), &scripts::resource(plan))?;
    file(&root.join("default.wsgi"), include_str!("files/default.py"))?;
    kept_file(&root.join("rewrite.conf"))?;
    match scripts::envvars(plan) {
        Some(text) => file(&root.join("envvars"), &text)?,
        None => kept_file(&root.join("envvars"))?,
    }
    if plan.given.has("enable-docs") || plan.application.is_default {
        directory(&root.join("docs"))?;
        file(&root.join("docs/index.html"), &docs::html())?;
    }
    let apachectl = root.join("apachectl");
    file(&apachectl, &scripts::apachectl(plan))?;
    done(&apachectl, fs::set_permissions(&apachectl, Permissions::from_mode(0o755)))
}

/// Makes the file in which processes tell how the application's start went; theirs to write.
pub fn ask_for_start(plan: &Plan) -> Result<(), Problem> {
    let path = plan.root.join(scripts::START);
    file(&path, "")?;
    give_to_user(plan, &path)
}

/// The server root must be ours: others can make directories in that of temporary files, too.
fn make_root(plan: &Plan) -> Result<(), Problem> {
    directory(&plan.root)?;
    let found = done(&plan.root, fs::symlink_metadata(&plan.root))?;
    if plan.given.has("server-root") || (found.is_dir() && found.uid() == plan.facts.uid) {
        return Ok(());
    }
    Err(Problem::new(
        format!("{} belongs to another user", plan.root.display()),
        "remove it, or name another directory with --server-root",
    ))
}

fn directory(path: &Path) -> Result<(), Problem> {
    done(path, fs::create_dir_all(path))
}

fn writable_directory(plan: &Plan, path: &Path) -> Result<(), Problem> {
    directory(path)?;
    give_to_user(plan, path)
}

/// Gives a file to the user of the daemon processes, if root starts the server.
fn give_to_user(plan: &Plan, path: &Path) -> Result<(), Problem> {
    if plan.facts.uid != 0 {
        return Ok(());
    }
    let uid = user::find_user(&plan.user).ok().flatten().map(|user| user.uid);
    let gid = match plan.user_group.strip_prefix('#') {
        Some(number) => number.parse().ok(),
        None => user::find_group(&plan.user_group).ok().flatten(),
    };
    let unknown =
        |what, name: &str| Problem::new(format!("there is no {what} {name}"), format!("name one with --{what}"));
    let uid = uid.ok_or_else(|| unknown("user", &plan.user))?;
    let gid = gid.ok_or_else(|| unknown("group", &plan.user_group))?;
    done(path, chown(path, Some(uid), Some(gid)))
}

fn file(path: &Path, text: &str) -> Result<(), Problem> {
    done(path, fs::write(path, text))
}

/// Makes an empty file, if there is none.
fn kept_file(path: &Path) -> Result<(), Problem> {
    done(path, fs::OpenOptions::new().append(true).create(true).open(path)).map(drop)
}

fn done<T>(path: &Path, result: io::Result<T>) -> Result<T, Problem> {
    result.map_err(|error| {
        Problem::new(
            format!("{} cannot be written: {error}", path.display()),
            "name a directory that you may write to with --server-root (or --log-directory, --document-root)",
        )
    })
}
