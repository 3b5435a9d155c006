//! One request, whatever the host: the WSGI adapter, scripts, the two halves of an exchange, and what applications call.

pub mod adapter;
pub mod advice;
pub mod decide;
pub mod events;
pub mod exchange;
pub mod files;
pub mod first_load;
pub mod fork;
pub mod host;
pub mod input;
pub mod interval;
pub mod link;
pub mod meter;
pub mod metrics;
pub mod output;
pub mod recorder;
pub mod report;
pub mod rules;
pub mod script;
pub mod server_metrics;
pub mod streams;
pub mod telemetry;
pub mod types;
