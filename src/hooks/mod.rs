//! What httpd calls: the `module` record, its functions, and one guarded entry for each hook. Nothing
//! imports the entries; the rest of the module asks this floor only for the record's address and index.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one record of httpd's, one fact that makes it valid")]

mod config;
mod entries;
mod record;

pub(crate) use record::{image_path, keep_image, module, module_index};
