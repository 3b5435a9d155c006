//! Python's C API: references and exceptions, interpreters, and the thread states of our threads.

pub mod events;
pub mod gilstate;
pub mod growing;
pub mod guarded;
pub mod initialise;
pub mod interp;
pub mod interpreters;
pub mod native;
pub mod object;
pub mod own_gil;
pub mod py;
pub mod scripts;
pub mod threads;
pub mod turn;
pub mod unmade;
pub mod waits;
