//! The steps between fork and exec, as the new process reports the one that failed: one byte each.

/// Where a start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// setsid.
    Session = 1,
    /// Placing the descriptors.
    Descriptors = 2,
    /// setgroups.
    Groups = 3,
    /// setgid.
    Group = 4,
    /// setuid.
    User = 5,
    /// chdir.
    Directory = 6,
    /// execve.
    Exec = 7,
    /// chroot, and chdir to the new root.
    Chroot = 8,
    /// setpriority; the process starts without.
    Priority = 9,
    /// setrlimit of RLIMIT_CPU; the process starts without.
    CpuLimit = 10,
    /// setrlimit of RLIMIT_DATA; the process starts without.
    DataLimit = 11,
    /// setrlimit of RLIMIT_AS; the process starts without.
    AddressSpaceLimit = 12,
}

impl Step {
    pub(super) fn from_byte(byte: u8) -> Step {
        match byte {
            1 => Step::Session,
            2 => Step::Descriptors,
            3 => Step::Groups,
            4 => Step::Group,
            5 => Step::User,
            6 => Step::Directory,
            8 => Step::Chroot,
            9 => Step::Priority,
            10 => Step::CpuLimit,
            11 => Step::DataLimit,
            12 => Step::AddressSpaceLimit,
            _ => Step::Exec,
        }
    }

    /// What was tried, to go before "failed".
    pub fn name(self) -> &'static str {
        match self {
            Step::Session => "setsid",
            Step::Descriptors => "placing the descriptors",
            Step::Groups => "setgroups",
            Step::Group => "setgid",
            Step::User => "setuid",
            Step::Directory => "chdir",
            Step::Exec => "execve",
            Step::Chroot => "chroot",
            Step::Priority => "setpriority",
            Step::CpuLimit => "setrlimit(RLIMIT_CPU)",
            Step::DataLimit => "setrlimit(RLIMIT_DATA)",
            Step::AddressSpaceLimit => "setrlimit(RLIMIT_AS)",
        }
    }

    /// Whether a program can run without it.
    pub(super) fn is_dispensable(self) -> bool {
        matches!(self, Step::Priority | Step::CpuLimit | Step::DataLimit | Step::AddressSpaceLimit)
    }
}
