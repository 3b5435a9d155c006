//! The httpd module: runs Python WSGI applications in httpd's children or in daemon processes.
//!
//! From the top floor down: `hooks` is what httpd calls; `handler` and `startup` answer it; `daemon` and
//! `embedded` run a request; `metrics` tells what httpd does; `route`, `directive` and `environ` decide, and know no httpd; `httpd` are
//! borrowed views of httpd's records. Only `hooks`, `httpd` and `embedded` hold unsafe code.

pub mod directive;
pub mod environ;
pub mod route;

mod advice;
mod daemon;
mod embedded;
mod handler;
mod hooks;
mod httpd;
mod live;
mod metrics;
mod respond;

mod startup;
