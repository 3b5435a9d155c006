//! Looks at the load of process groups and at the memory of their processes.

use std::fs;

use super::{SAMPLE, Shell, millis};
use crate::decide::{Event, GroupId, Load, ProcessId};

impl Shell {
    /// Looks at the groups that may grow or shrink, when it is time.
    pub(super) fn sample(&mut self) {
        let now = self.clock.now();
        if now < self.next_sample {
            return;
        }
        self.next_sample = now + millis(SAMPLE);
        for group in self.state.scaling(false) {
            let load = self.load_of(group);
            self.events.push_back(Event::Load { group, load });
        }
        // Children send a message to wake these groups, too. This look helps if that message is lost.
        for group in self.state.scaling(true) {
            if self.groups.get(&group).is_some_and(|entry| entry.board.waiting() > 0) {
                self.events.push_back(Event::Wanted { group });
            }
        }
    }

    fn load_of(&mut self, group: GroupId) -> Load {
        let Some(entry) = self.groups.get_mut(&group) else { return Load::default() };
        let before = std::mem::replace(&mut entry.served, entry.board.served_by_all());
        let served = entry.served > before;
        let Some(entry) = self.groups.get(&group) else { return Load::default() };
        let (_, threads, busy) = entry.board.census();
        let of_group = |id: &ProcessId| self.processes.get(id).filter(|it| it.group == group);
        let open = self.state.open();
        let idlest = open.iter().rev().filter_map(|id| Some((id, entry.board.in_flight(of_group(id)?.slot))));
        let idlest = idlest.min_by_key(|(_, busy)| *busy).map(|(id, _)| *id);
        Load { threads, busy, waiting: entry.board.waiting(), served, idlest }
    }

    /// Measures the processes whose memory is limited.
    pub(super) fn measure(&mut self) {
        for process in self.state.measured() {
            let status = self.processes.get(&process).map(|it| format!("/proc/{}/status", it.pid));
            let status = status.and_then(|path| fs::read_to_string(path).ok());
            if let Some(bytes) = status.and_then(|status| resident(&status)) {
                self.events.push_back(Event::Memory { process, bytes });
            }
        }
    }
}

/// The resident set in proc(5)'s `status`, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::resident;

    #[test]
    fn the_resident_set_is_read() {
        assert_eq!(resident("Name:\tpython\nVmRSS:\t   12340 kB\nRssAnon:\t 5 kB\n"), Some(12_340 << 10));
        assert_eq!(resident("Name:\tpython\n"), None, "a process that has ended");
        assert_eq!(resident("VmRSS: many kB\n"), None);
    }
}
