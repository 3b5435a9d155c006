//! Limits of what a process may use.

use std::io;

use rustix::process::getrlimit;

use super::step::Step;
use crate::fd::cvt;

/// What a process may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Processor time in seconds (RLIMIT_CPU): SIGXCPU at the soft limit, SIGKILL at the hard one.
    Cpu,
    /// Heap and private memory in bytes (RLIMIT_DATA).
    Data,
    /// Address space in bytes (RLIMIT_AS).
    AddressSpace,
}

/// A limit, to be set before the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub of: Resource,
    /// The soft limit. At that of processor time the kernel tells the process.
    pub soft: u64,
    /// The hard limit, which the process cannot pass or raise.
    pub hard: u64,
}

impl Limit {
    /// The limits of a process that may use `cpu` seconds, and as many bytes of data and address space; 0 is no limit.
    /// At the soft limit of processor time the kernel tells the process to end. If the process has not ended within
    /// `grace` seconds and one more, the kernel kills it.
    pub fn all(cpu: u64, grace: u64, data: u64, address_space: u64) -> Vec<Limit> {
        let all = [
            Limit { of: Resource::Cpu, soft: cpu, hard: cpu.saturating_add(grace).saturating_add(1) },
            Limit { of: Resource::Data, soft: data, hard: data },
            Limit { of: Resource::AddressSpace, soft: address_space, hard: address_space },
        ];
        all.into_iter().filter(|limit| limit.soft > 0).collect()
    }

    /// Files that this process may open (RLIMIT_NOFILE).
    pub fn open_files() -> usize {
        let own = getrlimit(rustix::process::Resource::Nofile).current;
        own.and_then(|own| usize::try_from(own).ok()).unwrap_or(usize::MAX)
    }

    /// Whether only a process with privileges can set it, because it is above the hard limit of this process.
    pub fn needs_privilege(&self) -> bool {
        getrlimit(self.of.named()).maximum.is_some_and(|own| self.hard > own)
    }

    /// Sets it for this process. Async-signal-safe.
    pub(super) fn set(self) -> io::Result<()> {
        let new = libc::rlimit { rlim_cur: self.soft as libc::rlim_t, rlim_max: self.hard as libc::rlim_t };
        // SAFETY: the record lives during the call.
        cvt(unsafe { libc::setrlimit(self.of.raw() as _, &raw const new) }).map(drop)
    }
}

impl Resource {
    fn raw(self) -> libc::c_int {
        // The type of these constants differs between systems.
        (match self {
            Resource::Cpu => libc::RLIMIT_CPU,
            Resource::Data => libc::RLIMIT_DATA,
            Resource::AddressSpace => libc::RLIMIT_AS,
        }) as libc::c_int
    }

    fn named(self) -> rustix::process::Resource {
        match self {
            Resource::Cpu => rustix::process::Resource::Cpu,
            Resource::Data => rustix::process::Resource::Data,
            Resource::AddressSpace => rustix::process::Resource::As,
        }
    }

    /// The step that sets a limit of it.
    pub(super) fn step(self) -> Step {
        match self {
            Resource::Cpu => Step::CpuLimit,
            Resource::Data => Step::DataLimit,
            Resource::AddressSpace => Step::AddressSpaceLimit,
        }
    }
}
