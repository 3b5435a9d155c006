//! The commands that are about the module only: where it is, how to load it, how to install it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::facts::{Lies, ask_python, find_httpd, find_module, find_modules, lies};
use crate::options::cli::Given;
use crate::problem::Problem;

/// The files of one build that belong together.
const COMPANIONS: [&str; 2] = ["wsgi-supervisor", "libwsgi_engine.so"];

fn location() -> Result<PathBuf, Problem> {
    // Without httpd the module may still lie beside this program.
    find_module(&find_httpd(&Given::default()).map(|(_, modules)| modules).unwrap_or_default())
}

/// `module-location`.
pub fn print_location() -> Result<u8, Problem> {
    println!("{}", location()?.display());
    Ok(0)
}

/// `module-config`.
pub fn print_config() -> Result<u8, Problem> {
    println!("{}", config(&location()?)?);
    Ok(0)
}

fn config(module: &Path) -> Result<String, Problem> {
    let python = ask_python(None)?;
    Ok(format!("LoadModule wsgi_module \"{}\"\nWSGIPythonHome \"{}\"", module.display(), python.prefix))
}

/// `install-module`: each file is written beside its place and then moved there, for a running httpd may use the old one.
pub fn install(directory: Option<&String>) -> Result<u8, Problem> {
    let module = location()?;
    let directory = match directory {
        Some(named) => find_modules(Some(named), Path::new("/"))?,
        None => find_httpd(&Given::default())?.1,
    };
    let installed = directory.join("mod_wsgi.so");
    if module != installed {
        let beside = |name: &str| module.with_file_name(name);
        for name in COMPANIONS {
            if lies(&beside(name)) != Lies::File {
                return Err(Problem::new(
                    format!("{} is missing; it belongs to the module", beside(name).display()),
                    "put the three files of one build into one directory",
                ));
            }
        }
        for name in COMPANIONS {
            place(&beside(name), &directory.join(name))?;
        }
        place(&module, &installed)?;
    }
    println!("{}", config(&installed)?);
    Ok(0)
}

fn place(from: &Path, to: &Path) -> Result<(), Problem> {
    let new = to.with_extension("new");
    let copied = fs::copy(from, &new).and_then(|_| fs::rename(&new, to));
    copied.map_err(|error: io::Error| {
        let _ = fs::remove_file(&new);
        Problem::new(
            format!("{} cannot be copied to {}: {error}", from.display(), to.display()),
            "run the command as root, or name a directory of your own with --modules-directory",
        )
    })
}
