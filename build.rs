//! Builds the httpd module's C part and the bindings to httpd and APR.
//!
//! `apxs` says where the headers are; set APXS when it is not on PATH.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "crates/wire/digest.rs"]
mod digest;

fn main() {
    println!("cargo:rerun-if-changed=apache");
    println!("cargo:rerun-if-changed=include");
    println!("cargo:rerun-if-env-changed=APXS");
    println!("cargo:rustc-env=WSGI_LAYOUT={:016x}", layout());
    let apxs = find_apxs();
    let query = |name: &str| run(&apxs, &["-q", name]).unwrap_or_default();
    let apr_config = query("APR_CONFIG");
    let mut flags: Vec<String> = vec![format!("-I{}", query("INCLUDEDIR")), "-Iinclude".into()];
    flags.extend(words(&query("EXTRA_INCLUDES")));
    flags.extend(words(&query("EXTRA_CPPFLAGS")));
    if let Some(more) = run(&apr_config, &["--includes", "--cppflags"]) {
        flags.extend(words(&more));
    }
    let mut shim = cc::Build::new();
    for flag in &flags {
        shim.flag(flag);
    }
    shim.file("apache/shim.c").warnings(true).compile("wsgi_shim");
    bindings(&flags);
}

/// A digest of what decides the layout of records that outlive a reload of the module, and nothing else:
/// the same sources and compiler give the same one anywhere.
fn layout() -> u64 {
    let mut files = vec![PathBuf::from("Cargo.lock")];
    for root in ["src/startup", "crates/sys/src"] {
        digest::gather(Path::new(root), &mut files);
    }
    println!("cargo:rerun-if-changed=Cargo.lock");
    let compiler = env::var("RUSTC").ok().and_then(|rustc| run(&rustc, &["-vV"])).unwrap_or_default();
    digest::of_files(digest::fnv(digest::EMPTY, compiler.as_bytes()), &mut files)
}

fn bindings(flags: &[String]) {
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    bindgen::Builder::default()
        .header("include/httpd_bindings.h")
        .clang_args(flags)
        .allowlist_function("(ap|apr|wsgi)_.*")
        .blocklist_function("ap_vr.*|.*vformatter.*|.*printf.*")
        .allowlist_type("(request|server|conn|command|process)_rec|(global|process|worker)_score|module|cmd_parms|apr_table_entry_t|ap_unixd_mpm_retained_data|core_server_config|core_dir_config|apr_bucket_refcount|apr_bucket_type_t|ap_directive_t|authn_provider|authz_provider")
        .allowlist_var("ap_unixd_config|ap_server_conf|ap_conftree|OPT_.*|AP_.*|APR_.*|HTTP_.*|OK|DECLINED|DONE|APLOG_.*|M_.*|OR_.*|RSRC_CONF|ACCESS_CONF|EXEC_ON_READ|MODULE_MAGIC.*|REQUEST_.*|GLOBAL_ONLY|SERVER_[A-Z_]*|NOT_IN_.*|ENABLE_SENDFILE_.*|REMOTE_HOST|REMOTE_NAME|SATISFY_ANY")
        .layout_tests(true)
        .derive_debug(false)
        .generate()
        .expect("bindgen reads httpd's headers; is libclang installed?")
        .write_to_file(out)
        .expect("OUT_DIR is writable");
}

fn find_apxs() -> String {
    let given = env::var("APXS").ok();
    let names = ["apxs2", "apxs", "/usr/sbin/apxs", "/usr/bin/apxs"].map(String::from);
    given.into_iter().chain(names).find(|name| run(name, &["-q", "INCLUDEDIR"]).is_some()).unwrap_or_else(|| {
        panic!("no working apxs found: install apache2-dev (Debian) or httpd-devel (Fedora), or set APXS")
    })
}

fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
