//! `mod_wsgi-express`: runs WSGI applications with httpd without a configuration of one's own.
//!
//! From the bottom up: `options/` is the table of options and reads command lines, `facts.rs` asks the system, `plan.rs`
//! and `application.rs` decide, `conf/`, `scripts.rs` and `docs.rs` make text of it; all but `facts.rs` are pure.
//! `tree.rs` writes files, `run.rs` runs the server, `module.rs` has the commands that are about the module only.
#![forbid(unsafe_code)]

mod application;
mod conf;
mod docs;
mod facts;
mod module;
mod options;
mod plan;
mod problem;
mod run;
mod scripts;
#[cfg(test)]
mod testing;
mod tree;

use std::process::ExitCode;

use clap::ArgMatches;

use options::{GONE, cli};
use plan::Plan;
use problem::Problem;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let words = cli::normalize(arguments.clone(), &|name| std::env::var(name).ok());
    let matches = cli::command().get_matches_from(words);
    let done = match matches.subcommand() {
        Some(("module-config", _)) => module::print_config(),
        Some(("module-location", _)) => module::print_location(),
        Some(("install-module", matches)) => module::install(matches.get_one::<String>("modules-directory")),
        Some((command, matches)) => server(command, matches, arguments),
        None => Ok(0),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// `start-server` and `setup-server`.
fn server(command: &str, matches: &ArgMatches, arguments: Vec<String>) -> Result<u8, Problem> {
    let given = cli::given(matches).map_err(|cause| Problem::new(cause, "leave the option out"))?;
    for (name, instead) in GONE.iter().filter(|(name, _)| given.gone.contains(name)) {
        eprintln!("mod_wsgi-express: --{name} is an option of older versions and does nothing; {instead}");
    }
    let facts = facts::gather(&given, arguments)?;
    let plan = Plan::new(given, facts)?;
    tree::write(&plan)?;
    if command == "setup-server" || plan.given.has("setup-only") {
        println!("{}", run::summary(&plan));
        if let Err(problem) = run::check_user(&plan) {
            eprintln!("{problem}");
        }
        return Ok(0);
    }
    run::run(&plan)
}
