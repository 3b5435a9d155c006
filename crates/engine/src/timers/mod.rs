//! The timers of a daemon process: what each request thread executes, what overruns, and the stacks of all threads.

pub mod activity;
pub mod probe;
pub mod slots;
pub mod stacks;
pub mod stuck;
pub mod watchdog;
