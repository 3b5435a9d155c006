//! The directives of the module: one table, the values they take, and the records that hold them.
//!
//! The glue registers each row of [`TABLE`] with httpd as a raw-argument directive and hands what httpd
//! read to [`apply`]; the create and merge functions of httpd are `default()` and `merge()` of
//! [`ServerConfig`] and [`DirConfig`]. Everything here is pure: no httpd, no libc, no files. An error is
//! a sentence for the administrator; httpd puts file and line before it.

#![forbid(unsafe_code)]

mod alias;
mod apply;
mod arguments;
mod config;
mod daemon;
mod dropped;
mod env_file;
mod error;
mod group;
mod interpreter;
mod layers;
mod markdown;
mod options;
mod place;
mod request;
mod runtime;
mod scripts;
mod subnet;
mod table;
mod values;
mod words;

pub use alias::{Alias, AliasOptions, AliasTarget};
pub use apply::{apply, apply_htaccess};
pub use config::{
    Deciding, DirConfig, GlobalConfig, HandlerScript, ImportScript, Recorded, RequestConfig, RuntimeConfig, Script,
    ServerConfig, TelemetryService,
};
pub use daemon::define_process_group;
pub use dropped::{DROPPED, Dropped};
pub use env_file::{BadLine, parse as parse_env_file};
pub use error::DirectiveError;
pub use group::{Access, ProcessGroup};
pub use interpreter::{InterpreterLayer, InterpreterOptions};
pub use markdown::render_markdown;
pub use options::{OPTIONS, OptionId, OptionKind, OptionRow, OptionValue};
pub use place::{Defined, Place, ServerKey};
pub use subnet::Subnet;
pub use table::{Id, Kind, Merge, Places, Row, TABLE};

pub(crate) use arguments::did_you_mean;
pub(crate) use values::shown;
pub use values::{HashSeed, HeadMapping};

/// Text of the configuration: bytes, because httpd promises no encoding, and shared, because httpd merges
/// records on the way of a request.
pub type Text = std::sync::Arc<[u8]>;
