//! What the server command asks of the system before it decides anything: users, directories, httpd, Python.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wsgi_sys::user;

use crate::options::cli::Given;
use crate::problem::Problem;

/// What lies at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lies {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// The Python that runs the application.
#[derive(Clone, Debug)]
pub struct Python {
    /// Its interpreter.
    pub executable: String,
    /// Its `sys.prefix`: the virtual environment.
    pub prefix: String,
    /// Whether it is built without the global lock.
    pub free_threaded: bool,
    /// The locale to run in.
    pub locale: String,
    /// The first file of types that exists.
    pub mime_types: Option<String>,
}

/// What holds on this machine.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The current directory.
    pub directory: PathBuf,
    /// The directory for temporary files.
    pub temporary: PathBuf,
    /// The user that starts the server.
    pub uid: u32,
    /// Its name, or `#uid`.
    pub user: String,
    /// Its group's name, or `#gid`.
    pub group: String,
    /// The module.
    pub module: PathBuf,
    /// The program httpd.
    pub httpd: String,
    /// The directory of its modules.
    pub modules: PathBuf,
    /// rotatelogs.
    pub rotatelogs: String,
    /// The shell for apachectl.
    pub shell: String,
    /// The Python of the application.
    pub python: Python,
    /// Whether httpd may open this terminal by the names `/dev/stderr` and `/dev/stdout`: it may not, if they are sockets.
    pub terminal_opens: bool,
    /// The command line, for the comment in apachectl.
    pub command_line: Vec<String>,
    /// Looks what lies at a path.
    pub lies: fn(&Path) -> Lies,
}

/// What lies at this path of the file system.
pub fn lies(path: &Path) -> Lies {
    match path.metadata() {
        Ok(found) if found.is_dir() => Lies::Directory,
        Ok(_) => Lies::File,
        Err(_) => Lies::Nothing,
    }
}

/// Finds everything out.
pub fn gather(given: &Given, command_line: Vec<String>) -> Result<Facts, Problem> {
    let (httpd, modules) = find_httpd(given)?;
    let uid = user::effective_uid();
    Ok(Facts {
        directory: env::current_dir()
            .map_err(|error| Problem::new(format!("there is no current directory: {error}"), "change to one"))?,
        temporary: env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map_or_else(|| "/tmp".into(), PathBuf::from),
        uid,
        user: user::user_by_id(uid).ok().flatten().map_or_else(|| format!("#{uid}"), |user| user.name),
        group: format!("#{}", user::effective_gid()),
        module: find_module(&modules)?,
        rotatelogs: find_rotatelogs(given, &httpd),
        shell: find_shell(given)?,
        python: ask_python(given.text("locale").or(given.text("lang")))?,
        httpd,
        modules,
        terminal_opens: ["/dev/stderr", "/dev/stdout"]
            .iter()
            .all(|name| std::fs::OpenOptions::new().append(true).open(name).is_ok()),
        command_line,
        lies,
    })
}

/// A program by its path, or on `PATH` and in the directories of system programs.
fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return (lies(Path::new(name)) == Lies::File).then(|| PathBuf::from(name));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/usr/local/apache2/bin", "/usr/local/bin", "/usr/bin", "/bin"];
    let directories = env::split_paths(&path).chain(system.iter().map(PathBuf::from));
    directories.map(|dir| dir.join(name)).find(|path| lies(path) == Lies::File)
}

/// httpd and the directory of its modules.
pub fn find_httpd(given: &Given) -> Result<(String, PathBuf), Problem> {
    let named = env::var("HTTPD").ok().or_else(|| given.given("httpd-executable").map(str::to_owned));
    let httpd = match &named {
        Some(name) => find_program(name),
        None => ["apache2", "httpd"].into_iter().find_map(find_program),
    };
    let httpd = httpd.ok_or_else(|| {
        let cause = match named {
            Some(name) => format!("there is no program {name}"),
            None => "Apache httpd is not installed: there is no apache2 and no httpd on PATH".to_owned(),
        };
        Problem::new(
            cause,
            "install it (Debian: apache2-bin; Fedora: httpd), or name the program with --httpd-executable",
        )
    })?;
    let modules = find_modules(given.given("modules-directory"), &httpd)?;
    Ok((httpd.to_string_lossy().into_owned(), modules))
}

/// The directory of httpd's modules.
pub fn find_modules(named: Option<&str>, httpd: &Path) -> Result<PathBuf, Problem> {
    if let Some(named) = named {
        let directory = Path::new(named);
        return match lies(directory) {
            Lies::Directory => Ok(std::path::absolute(directory).unwrap_or_else(|_| directory.into())),
            _ => Err(Problem::new(
                format!("there is no directory {named}"),
                "name the directory of httpd's modules with --modules-directory",
            )),
        };
    }
    let prefix = httpd.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let below = ["lib/apache2/modules", "lib64/httpd/modules", "lib/httpd/modules", "libexec/apache2", "modules"];
    let mut candidates = below.iter().flat_map(|dir| [prefix.join(dir), Path::new("/usr").join(dir)]);
    candidates.find(|dir| lies(&dir.join("mod_alias.so")) == Lies::File).ok_or_else(|| {
        Problem::new(
            format!("the modules of {} are not where they use to be", httpd.display()),
            "name their directory with --modules-directory",
        )
    })
}

/// The module: `MOD_WSGI_MODULE`, else beside this program, else among httpd's modules.
pub fn find_module(modules: &Path) -> Result<PathBuf, Problem> {
    if let Some(named) = env::var_os("MOD_WSGI_MODULE") {
        let path = PathBuf::from(named);
        return match lies(&path) {
            Lies::File => Ok(std::path::absolute(&path).unwrap_or(path)),
            _ => Err(Problem::new(
                format!("MOD_WSGI_MODULE names {}, which is not there", path.display()),
                "name the module's file, or unset MOD_WSGI_MODULE",
            )),
        };
    }
    let own = env::current_exe().and_then(|path| path.canonicalize()).unwrap_or_default();
    let beside = own.parent().unwrap_or(Path::new("/"));
    let candidates = [beside.join("mod_wsgi.so"), beside.join("libmod_wsgi.so"), modules.join("mod_wsgi.so")];
    candidates.into_iter().find(|path| lies(path) == Lies::File).ok_or_else(|| {
        Problem::new(
            format!("there is no mod_wsgi.so in {} nor in {}", beside.display(), modules.display()),
            "put the module there, with wsgi-supervisor and libwsgi_engine.so, or name it with MOD_WSGI_MODULE",
        )
    })
}

fn find_rotatelogs(given: &Given, httpd: &str) -> String {
    if let Some(named) = given.given("rotatelogs-executable") {
        return named.to_owned();
    }
    let beside = Path::new(httpd).with_file_name("rotatelogs");
    let found = find_program("rotatelogs").or_else(|| (lies(&beside) == Lies::File).then_some(beside));
    found.map_or_else(|| "rotatelogs".to_owned(), |path| path.to_string_lossy().into_owned())
}

fn find_shell(given: &Given) -> Result<String, Problem> {
    let named = given.given("shell-executable");
    let found = match named {
        Some(name) => find_program(name),
        None => ["bash", "sh"].into_iter().find_map(find_program),
    };
    found.map(|path| path.to_string_lossy().into_owned()).ok_or_else(|| {
        let cause = format!("there is no shell {}", named.unwrap_or("bash or sh on PATH"));
        Problem::new(cause, "name one with --shell-executable")
    })
}

/// The program that the interpreter runs to describe itself.
const QUESTION: &str = include_str!("files/question.py");

/// Asks the Python of the virtual environment, else the one on `PATH`.
pub fn ask_python(locale: Option<&str>) -> Result<Python, Problem> {
    let cure = "activate the virtual environment of the application, or put its python3 on PATH";
    let home = env::var_os("VIRTUAL_ENV").map(|home| Path::new(&home).join("bin/python3"));
    let python = match home {
        Some(python) if lies(&python) == Lies::File => python,
        Some(python) => return Err(Problem::new(format!("VIRTUAL_ENV has no interpreter {}", python.display()), cure)),
        None => find_program("python3").ok_or_else(|| Problem::new("there is no python3 on PATH", cure))?,
    };
    let cannot = |what: String| Problem::new(format!("the interpreter {} {what}", python.display()), cure);
    let done = Command::new(&python)
        .args(["-c", QUESTION, locale.unwrap_or_default()])
        .output()
        .map_err(|error| cannot(format!("cannot be executed: {error}")))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(cannot(format!("does not run: {}", said.lines().last().unwrap_or("it says nothing"))));
    }
    let answer: Value =
        serde_json::from_slice(&done.stdout).map_err(|_| cannot("does not answer questions about itself".into()))?;
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let version = (answer["version"][0].as_u64().unwrap_or(0), answer["version"][1].as_u64().unwrap_or(0));
    if version < (3, 10) {
        return Err(cannot(format!("is Python {}.{}; 3.10 is the oldest that works", version.0, version.1)));
    }
    Ok(Python {
        executable: text("executable"),
        prefix: text("prefix"),
        free_threaded: answer["free_threaded"].as_bool().unwrap_or(false),
        locale: text("locale"),
        mime_types: answer["mime_types"].as_str().map(str::to_owned),
    })
}
