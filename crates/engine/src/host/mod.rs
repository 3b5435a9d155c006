//! Who feeds requests in: the connections of a daemon process, or httpd's child through a table of functions.

pub mod daemon;
pub mod embedded;
pub mod module;
