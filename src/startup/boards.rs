//! The scoreboards of the process groups, as httpd's parent keeps them from one configuration to the next. Called by
//! `supervisor`, whose record holds them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use wsgi_sys::scoreboard::{Geometry, Scoreboard};
use wsgi_wire::messages::Message;

use super::groups::PlannedGroup;
use crate::httpd::server::Server;

/// A scoreboard that parent and children share, with its group's number.
pub(super) type Board = (u64, Arc<Scoreboard>);

/// A process group's shared memory, under the group's name.
pub(super) struct KeptBoard {
    name: String,
    pub(super) id: u64,
    pub(super) memory: OwnedFd,
    pub(super) board: Arc<Scoreboard>,
    /// Something has written to its header.
    pub(super) written_to: bool,
}

/// Those of all groups.
pub(super) struct Boards {
    all: Vec<KeptBoard>,
    last_id: u64,
}

impl Boards {
    /// None yet.
    pub(super) fn new() -> Boards {
        Boards { all: Vec::new(), last_id: 1 }
    }

    /// In the order of the groups of the last call of [`Boards::for_groups`].
    pub(super) fn all(&self) -> &[KeptBoard] {
        &self.all
    }

    /// As [`Boards::all`], to note something.
    pub(super) fn all_mut(&mut self) -> &mut [KeptBoard] {
        &mut self.all
    }

    /// Gives all of them up.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// Tells the children why no process can be started, or that one can be again.
    pub(super) fn set_fault(&self, fault: Option<&str>) {
        self.all.iter().for_each(|kept| kept.board.set_fault(fault));
    }

    /// Returns a scoreboard for each group: the one that the group's name had before, if the group still fits. If
    /// something in a child has written to a scoreboard, the parent gives it up, together with the processes in it.
    pub(super) fn for_groups(&mut self, main: Server<'_>, groups: &[PlannedGroup]) -> io::Result<Vec<Board>> {
        let all = std::mem::take(&mut self.all).into_iter();
        let (mut old, broken): (Vec<_>, Vec<_>) = all.partition(|kept| !kept.written_to && kept.board.is_intact());
        for broken in broken {
            let text = format!(
                "process group \"{}\": something wrote to its scoreboard (an application in embedded mode can); the group gets a new \
                 scoreboard and new processes",
                broken.name
            );
            main.report(Message::BoardDamaged, &text);
        }
        let mut boards = Vec::new();
        for group in groups {
            let (config, backlog) = (&group.config, group.backlog);
            let fits = |kept: &KeptBoard| {
                kept.name == config.name && kept.board.geometry().holds(config.max_processes, config.threads, backlog)
            };
            let kept = match old.iter().position(fits) {
                Some(at) => old.swap_remove(at),
                None => {
                    let geometry = Geometry::for_group(config.max_processes, config.threads, backlog);
                    let (memory, board) = Scoreboard::create(geometry)?;
                    self.last_id += 1;
                    let (name, board) = (config.name.clone(), Arc::new(board));
                    KeptBoard { name, id: self.last_id, memory, board, written_to: false }
                }
            };
            boards.push((kept.id, Arc::clone(&kept.board)));
            self.all.push(kept);
        }
        Ok(boards)
    }
}
