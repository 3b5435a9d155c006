//! What httpd calls: the `module` record, its functions, and one guarded entry for each hook. Nothing
//! imports this floor.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one record of httpd's, one fact that makes it valid")]

mod auth;
mod config;
mod entries;
mod record;
