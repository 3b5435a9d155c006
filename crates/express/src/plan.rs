//! Decides what server the options ask for. Pure: from options and facts to a `Plan`, or to the problem that keeps it
//! from being. `conf/` and `tree.rs` write what the plan says.

use std::path::{Path, PathBuf};

use crate::application::{self, Application};
use crate::facts::{Facts, Lies};
use crate::options::cli::Given;
use crate::problem::Problem;

/// The process models of httpd, in the order of preference.
const MPMS: [&str; 3] = ["event", "worker", "prefork"];

/// Options that imply debug mode.
const DEBUGGING: [&str; 5] = ["enable-debugger", "enable-coverage", "enable-profiler", "enable-recorder", "enable-gdb"];

/// Certificates and port of the HTTPS server.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Its port.
    pub port: u64,
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// Where the application runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// In daemon processes.
    Daemon,
    /// In httpd's children.
    Embedded,
    /// In the only process, on the terminal.
    Debug,
}

/// The server that is to be set up.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The options.
    pub given: Given,
    /// What holds on this machine.
    pub facts: Facts,
    /// Directory of the generated files.
    pub root: PathBuf,
    /// The application.
    pub application: Application,
    /// Where it runs.
    pub mode: Mode,
    /// httpd's process model.
    pub mpm: &'static str,
    /// Name of the process group.
    pub group: String,
    /// User of children and daemon processes.
    pub user: String,
    /// Their group.
    pub user_group: String,
    /// The mount point without a slash at its end: empty for the root.
    pub mount: String,
    /// Directory of static files.
    pub document_root: PathBuf,
    /// Working directory of the application.
    pub working_directory: PathBuf,
    /// Further directories for `sys.path`.
    pub python_path: Vec<String>,
    /// HTTPS, if it is configured whole.
    pub tls: Option<Tls>,
    /// Directory of the logs.
    pub logs: PathBuf,
    /// Whether the logs go to the terminal.
    pub to_terminal: bool,
    /// Whether the logs are rotated.
    pub rotate: bool,
}

impl Plan {
    /// Decides.
    pub fn new(given: Given, facts: Facts) -> Result<Plan, Problem> {
        let mode = mode(&given);
        let mpm = mpm(&given, &facts, mode)?;
        check(&given, &facts)?;
        let root = root(&given, &facts);
        let application = application::of(&given, &facts, &root)?;
        let name = format!("{}:{}", given.text("host").unwrap_or("localhost"), given.number("port"));
        let log_directory = given.given("log-directory").map(|dir| absolute(&facts, dir));
        let to_terminal = given.has("log-to-terminal") && log_directory.is_none();
        let document_root = given.given("document-root").map(|dir| absolute(&facts, dir));
        let user = given.text("user").unwrap_or(&facts.user).to_owned();
        let named_group = given.text("group").map(str::to_owned);
        let plan = Plan {
            mode,
            mpm,
            group: given.text("process-group").map_or(name, str::to_owned),
            user_group: named_group.unwrap_or_else(|| facts.group.clone()),
            user,
            mount: format!("/{}", given.text("mount-point").unwrap_or("/").trim_matches('/'))
                .trim_end_matches('/')
                .into(),
            document_root: document_root
                .or_else(|| application.static_root.clone())
                .unwrap_or_else(|| root.join("htdocs")),
            working_directory: given
                .given("working-directory")
                .map_or_else(|| facts.directory.clone(), |dir| absolute(&facts, dir)),
            python_path: given.all("python-path").iter().map(|dir| path_text(&absolute(&facts, dir))).collect(),
            tls: tls(&given, &facts)?,
            logs: log_directory.unwrap_or_else(|| root.clone()),
            to_terminal,
            rotate: given.has("rotate-logs") && !to_terminal,
            application,
            root,
            given,
            facts,
        };
        plan.check_directories()?;
        Ok(plan)
    }

    /// Address and port of the site, as a browser wants them.
    pub fn url(&self) -> String {
        let host = self.given.text("server-name").or(self.given.text("host")).unwrap_or("localhost");
        let host = match host {
            "0.0.0.0" | "::" | "*" => "localhost".to_owned(),
            host => bracketed(host),
        };
        let (scheme, port, usual) = match &self.tls {
            Some(tls) if self.given.has("https-only") => ("https", tls.port, 443),
            _ => ("http", self.given.number("port"), 80),
        };
        let port = if port == usual { String::new() } else { format!(":{port}") };
        format!("{scheme}://{host}{port}{}/", self.mount)
    }

    /// A file that the user names, made absolute.
    pub fn absolute(&self, path: &str) -> PathBuf {
        absolute(&self.facts, path)
    }

    /// The file with the process id of httpd.
    pub fn pid_file(&self) -> PathBuf {
        self.given.given("pid-file").map_or_else(|| self.root.join("httpd.pid"), |file| self.absolute(file))
    }

    /// The error log, for people.
    pub fn error_log(&self) -> String {
        match self.to_terminal {
            true => "this terminal".to_owned(),
            false => path_text(&self.logs.join(self.given.text("error-log-name").unwrap_or_default())),
        }
    }

    /// Whether a changed script is loaded again.
    pub fn reloads(&self) -> bool {
        self.mode == Mode::Daemon && !self.given.has("disable-reloading")
    }

    /// Whether the daemon processes look for changes by themselves.
    pub fn watches(&self) -> bool {
        self.reloads() && self.given.has("reload-on-changes")
    }

    /// Whether processes load the application when they start. The interpreter must be known then.
    pub fn preloads(&self) -> bool {
        let group = self.given.text("application-group").unwrap_or_default();
        !self.application.is_static() && (!group.contains("%{") || group == "%{GLOBAL}")
    }

    /// Whether anything of the site runs Python.
    pub fn runs_python(&self) -> bool {
        let scripts = ["add-handler", "host-access-script", "auth-user-script"];
        !self.application.is_static() || scripts.iter().any(|option| self.given.has(option))
    }

    /// Daemon processes times threads.
    pub fn capacity(&self) -> u64 {
        self.given.number("processes").max(1) * self.given.number("threads").max(1)
    }

    fn check_directories(&self) -> Result<(), Problem> {
        if (self.facts.lies)(&self.working_directory) != Lies::Directory {
            return Err(Problem::new(
                format!("the working directory {} is not there", self.working_directory.display()),
                "make it, or name another one with --working-directory",
            ));
        }
        Ok(())
    }
}

/// A path as text for a configuration.
pub fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A path that the user names, seen from the current directory.
pub fn absolute(facts: &Facts, path: &str) -> PathBuf {
    let joined = facts.directory.join(path);
    joined.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
}

/// A host as part of an URL or of `Listen`.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

fn mode(given: &Given) -> Mode {
    match given.has("debug-mode") || DEBUGGING.iter().any(|name| given.has(name)) {
        true => Mode::Debug,
        false if given.has("embedded-mode") => Mode::Embedded,
        false => Mode::Daemon,
    }
}

fn mpm(given: &Given, facts: &Facts, mode: Mode) -> Result<&'static str, Problem> {
    let asked = given.all("server-mpm");
    if let Some(wrong) = asked.iter().find(|name| !MPMS.contains(name)) {
        return Err(Problem::new(format!("--server-mpm {wrong} is no MPM"), "allowed are event, worker and prefork"));
    }
    let wanted: Vec<&'static str> = match mode {
        _ if given.has("with-php5") => vec!["prefork"],
        Mode::Debug => vec!["worker", "prefork"],
        Mode::Embedded if asked.is_empty() => vec!["worker", "prefork"],
        _ if asked.is_empty() => MPMS.to_vec(),
        _ => MPMS.into_iter().filter(|name| asked.contains(name)).collect(),
    };
    let there = |name: &&str| (facts.lies)(&facts.modules.join(format!("mod_mpm_{name}.so"))) == Lies::File;
    wanted.iter().copied().find(|name| there(name)).ok_or_else(|| {
        Problem::new(
            format!("{} has no mod_mpm_{}.so", facts.modules.display(), wanted.join(".so and no mod_mpm_")),
            "install the MPM, or choose another one with --server-mpm",
        )
    })
}

fn root(given: &Given, facts: &Facts) -> PathBuf {
    let host = given.text("host").unwrap_or("localhost");
    match given.given("server-root") {
        Some(root) => absolute(facts, root),
        None => facts.temporary.join(format!("mod_wsgi-{host}:{}:{}", given.number("port"), facts.uid)),
    }
}

/// Checks that concern several options.
fn check(given: &Given, facts: &Facts) -> Result<(), Problem> {
    let problem = |cause: &str, cure: &str| Err(Problem::new(cause, cure));
    if given.has("switch-interval") && given.decimal("switch-interval").is_none_or(|seconds| seconds <= 0.0) {
        return problem("--switch-interval has to be above 0", "name the seconds, such as 0.005");
    }
    if given.has("free-threading") && !facts.python.free_threaded {
        return Err(Problem::new(
            format!("--free-threading needs a free-threaded Python, which {} is not", facts.python.executable),
            "use a free-threaded build, such as python3.14t, or leave the option out",
        ));
    }
    if given.has("debugger-startup") && !given.has("enable-debugger") {
        return problem("--debugger-startup has no effect by itself", "add --enable-debugger");
    }
    let telemetry = given.given("telemetry-service");
    if let Some(target) = telemetry.filter(|target| !target.starts_with("unix:")) {
        return Err(Problem::new(format!("--telemetry-service {target} is no socket"), "write it as unix:/PATH"));
    }
    if given.has("slow-requests") && telemetry.is_none() {
        return problem("--slow-requests has nowhere to send its reports", "add --telemetry-service unix:/PATH");
    }
    if !["On", "Off", "Auto"].contains(&given.text("map-head-to-get").unwrap_or("Auto")) {
        return problem("--map-head-to-get has no such value", "allowed are On, Off and Auto");
    }
    if !["Basic", "Digest"].contains(&given.text("auth-type").unwrap_or("Basic")) {
        return problem("--auth-type has no such value", "allowed are Basic and Digest");
    }
    if given.has("with-php5") && (facts.lies)(&facts.modules.join("libphp5.so")) != Lies::File {
        return problem("--with-php5 needs libphp5.so among httpd's modules", "install it, or leave the option out");
    }
    if given.number("threads") == 0 {
        return problem("--threads 0 would serve no requests", "name at least 1");
    }
    for option in ["service-user", "service-group", "service-log-file"] {
        let known: Vec<_> = given.pairs("service-script").iter().map(|(name, _)| *name).collect();
        if let Some((name, _)) = given.pairs(option).iter().find(|(name, _)| !known.contains(name)) {
            return Err(Problem::new(
                format!("--{option} {name}: there is no such service"),
                format!("add --service-script {name} FILE"),
            ));
        }
    }
    check_files(given, facts)
}

/// Files that have to be there.
fn check_files(given: &Given, facts: &Facts) -> Result<(), Problem> {
    let single = [
        "include-file",
        "host-access-script",
        "auth-user-script",
        "auth-group-script",
        "envvars-script",
        "rewrite-rules",
        "ssl-ca-certificate-file",
        "ssl-certificate-chain-file",
    ];
    let mut files: Vec<(&str, &str)> = Vec::new();
    for option in single {
        files.extend(given.all(option).iter().map(|file| (option, *file)));
    }
    for option in ["service-script", "add-handler"] {
        files.extend(given.pairs(option).iter().map(|(_, file)| (option, *file)));
    }
    match files.iter().find(|(_, file)| (facts.lies)(&absolute(facts, file)) != Lies::File) {
        Some((option, file)) => Err(Problem::new(
            format!("--{option} {file}: there is no such file"),
            "write the path of the file, seen from the current directory",
        )),
        None => Ok(()),
    }
}

fn tls(given: &Given, facts: &Facts) -> Result<Option<Tls>, Problem> {
    let stem = given.given("ssl-certificate");
    let certificate = stem.map(|stem| format!("{stem}.crt")).or(given.given("ssl-certificate-file").map(str::to_owned));
    let key = stem.map(|stem| format!("{stem}.key")).or(given.given("ssl-certificate-key-file").map(str::to_owned));
    let named = if given.has("https-port") { "https-port" } else { "ssl-port" };
    let port = given.given(named).and_then(|port| port.parse().ok());
    let Some(port) = port else {
        let without = certificate.is_some() || key.is_some() || given.has("https-only");
        return match without {
            true => Err(Problem::new("HTTPS has no port", "name it with --https-port")),
            false => Ok(None),
        };
    };
    if given.text("server-name").is_none() {
        return Err(Problem::new("HTTPS needs the name of the site", "name it with --server-name"));
    }
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return Err(Problem::new(
            "HTTPS needs a certificate and its key",
            "name them with --ssl-certificate-file and --ssl-certificate-key-file",
        ));
    };
    let (certificate, key) = (absolute(facts, &certificate), absolute(facts, &key));
    match [&certificate, &key].into_iter().find(|file| (facts.lies)(file) != Lies::File) {
        Some(file) => Err(Problem::new(format!("there is no file {}", file.display()), "name the file in PEM")),
        None => Ok(Some(Tls { port, certificate: path_text(&certificate), key: path_text(&key) })),
    }
}
