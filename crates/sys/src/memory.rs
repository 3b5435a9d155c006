//! Mappings: anonymous shared memory as a slice of atomic words, for the scoreboard; windows on files whose bytes
//! only the kernel may touch, for children that send files.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;

/// A shared mapping; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<AtomicU32>,
    words: usize,
}

// SAFETY: the mapping stays where it is until drop, and only atomics are reached through it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// New zeroed memory of `words` words, and the descriptor to map it elsewhere.
    pub(crate) fn create(name: &CStr, words: usize) -> io::Result<(OwnedFd, Mapping)> {
        let size = words * size_of::<AtomicU32>();
        // SAFETY: `name` is a C string; the call returns a descriptor or -1.
        let raw = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `raw` was just made, so nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        let length = libc::off_t::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: takes its arguments by value.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), length) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let map = Mapping::of(&fd, size)?;
        Ok((fd, map))
    }

    /// Maps all whole words of `fd`.
    pub(crate) fn open(fd: BorrowedFd<'_>) -> io::Result<Mapping> {
        let file = std::fs::File::from(fd.try_clone_to_owned()?);
        let size = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        Mapping::of(&file, size)
    }

    fn of(fd: &impl AsRawFd, size: usize) -> io::Result<Mapping> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), size, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Mapping { start, words: size / size_of::<AtomicU32>() })
    }

    /// The memory.
    pub(crate) fn words(&self) -> &[AtomicU32] {
        // SAFETY: `of` mapped that many aligned words for reading and writing, and drop has not run.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and size are those of the mapping, and no borrow of it can outlive self.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * size_of::<AtomicU32>()) };
    }
}

/// Some of a file, mapped for reading. The file may become shorter at any time: reading the memory behind its end
/// kills the process, but a system call that is given it fails. So the address is for system calls only.
#[derive(Debug)]
pub struct Window {
    start: NonNull<u8>,
    length: usize,
}

impl Window {
    /// Maps `length` bytes from `offset`, which is a multiple of the page size.
    ///
    /// # Errors
    /// What mmap says.
    pub fn on(file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<Window> {
        let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let (access, fd) = (libc::PROT_READ, file.as_raw_fd());
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Window { start, length })
    }

    /// Where it begins.
    pub fn start(&self) -> *const u8 {
        self.start.as_ptr()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
