//! The httpd module: runs Python WSGI applications in httpd's children or in daemon processes.
//!
//! From the top floor down: `hooks` is what httpd calls; `handler` (a request) and `startup` (a start, a child) answer it;
//! `decide` asks scripts what to allow; `daemon` and `embedded` run a request; `respond` hands a response to httpd, `metrics` tells what httpd does, `live` is the
//! configuration in force, `advice` what a child tells once, `facts` what httpd and the file system know, `python` where an interpreter is; `route`, `directive` and
//! `environ` decide, and know no httpd; `httpd` are borrowed views of httpd's records. No floor imports one above it.
//!
//! Only `hooks`, `httpd`, `embedded` and `startup/former.rs` hold unsafe code.

pub mod directive;
pub mod environ;
pub mod route;

mod advice;
mod daemon;
mod decide;
mod embedded;
mod facts;
mod handler;
mod hooks;
mod httpd;
mod live;
mod metrics;
mod python;
mod respond;
mod startup;
