//! Mappings: anonymous shared memory as a slice of atomic words, for the scoreboard; windows on files whose bytes
//! only the kernel may touch, for children that send files.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, Release};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Maps `length` bytes of `file` from `offset` on, which is a multiple of the page size. Other processes see the same.
fn mapped(file: BorrowedFd<'_>, offset: u64, length: usize, access: ProtFlags) -> io::Result<NonNull<u8>> {
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
    let start = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file, offset) }?;
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

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
    /// As the other `create`, of memory of this process only: Miri has no mappings of files.
    #[cfg(miri)]
    pub(crate) fn create(_name: &CStr, words: usize) -> io::Result<(OwnedFd, Mapping)> {
        let memory: Box<[AtomicU32]> = (0..words).map(|_| AtomicU32::new(0)).collect();
        let start = NonNull::new(Box::into_raw(memory).cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok((File::open("/dev/null")?.into(), Mapping { start, words }))
    }

    /// New zeroed memory of `words` words, and the descriptor to map it elsewhere. Nobody can change its size.
    #[cfg(not(miri))]
    pub(crate) fn create(name: &CStr, words: usize) -> io::Result<(OwnedFd, Mapping)> {
        let size = words.checked_mul(size_of::<AtomicU32>()).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = fixed(name, size)?;
        let map = Mapping::of(&fd, size)?;
        Ok((fd, map))
    }

    /// Maps all whole words of `fd`.
    pub(crate) fn open(fd: BorrowedFd<'_>) -> io::Result<Mapping> {
        Mapping::of(&fd, fixed_size(fd)?)
    }

    fn of(fd: &impl AsFd, size: usize) -> io::Result<Mapping> {
        let start = mapped(fd.as_fd(), 0, size, ProtFlags::READ | ProtFlags::WRITE)?.cast();
        Ok(Mapping { start, words: size / size_of::<AtomicU32>() })
    }

    /// The memory.
    pub(crate) fn words(&self) -> &[AtomicU32] {
        // SAFETY: `of` mapped that many aligned words for reading and writing, and drop has not run.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

#[cfg(miri)]
impl Drop for Mapping {
    fn drop(&mut self) {
        let memory = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.words);
        // SAFETY: `create` took it out of a box of that many words.
        drop(unsafe { Box::from_raw(memory) });
    }
}

#[cfg(not(miri))]
impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and size are those of the mapping, and no borrow of it can outlive self.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words * size_of::<AtomicU32>()) };
    }
}

/// A part of a file, mapped for reading. The file may become shorter at any time. Reading the memory behind its end
/// then kills the process, but a system call that gets the address only fails. So the address is for system calls only.
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
        Ok(Window { start: mapped(file, offset, length, ProtFlags::READ)?, length })
    }

    /// Where it begins.
    pub fn start(&self) -> *const u8 {
        self.start.as_ptr()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A file in memory with these bytes, for other processes to read. Nobody can change it any more.
///
/// # Errors
/// What memfd_create, write or fcntl say.
pub fn sealed(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::WRITE | FIXED)?;
    Ok(file.into())
}

/// Memory of `size` bytes, all zero. Nobody can change its size any more, so no process can kill those that have mapped
/// it by making it shorter.
fn fixed(name: &CStr, size: usize) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, size as u64)?;
    fcntl_add_seals(&file, FIXED)?;
    Ok(file)
}

/// The seals that keep the size of a file in memory as it is.
const FIXED: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The size of memory that [`fixed`] made.
///
/// # Errors
/// `InvalidData` for anything that somebody can still make shorter; otherwise what fcntl and fstat say.
fn fixed_size(file: BorrowedFd<'_>) -> io::Result<usize> {
    let unfit = || io::Error::new(io::ErrorKind::InvalidData, "not shared memory of a fixed size");
    let seals = fcntl_get_seals(file).map_err(|_| unfit())?;
    if !seals.contains(FIXED) {
        return Err(unfit());
    }
    let size = crate::temporary::regular_size(file).ok_or_else(unfit)?;
    usize::try_from(size).map_err(|_| unfit())
}

/// Reads all of a regular file from its beginning, wherever its owner's position is.
///
/// # Errors
/// `InvalidData` when it is no regular file or longer than `most` bytes; otherwise what fstat or pread say.
pub fn read_whole(file: OwnedFd, most: u64) -> io::Result<Vec<u8>> {
    let file = File::from(file);
    let facts = file.metadata()?;
    if !facts.is_file() || facts.len() > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; usize::try_from(facts.len()).map_err(|_| io::ErrorKind::InvalidData)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Memory of a fixed size that two processes share: one makes it and only reads, the other writes. Neither can make it
/// smaller. Its content may change at any time, so callers reach it by address and length, and not as a slice.
#[derive(Debug)]
pub struct Area {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping stays where it is until drop; it is reached through raw addresses and `write` only.
unsafe impl Send for Area {}

/// Bytes behind an area's content, for the writer's count.
const COUNT: usize = 4096;

impl Area {
    /// New memory of `room` bytes to read from, and the descriptor for the process that writes.
    ///
    /// # Errors
    /// What memfd_create, ftruncate, fcntl or mmap say.
    pub fn create(name: &CStr, room: usize) -> io::Result<(OwnedFd, Area)> {
        let length = room.checked_add(COUNT).ok_or(io::ErrorKind::InvalidInput)?;
        let file = fixed(name, length)?;
        let area = Area::map(&file, length, ProtFlags::READ)?;
        Ok((file, area))
    }

    /// Maps the memory behind `file` for writing. [`Area::create`] made it, with the same `room`.
    ///
    /// # Errors
    /// `InvalidData` if it did not: somebody could then make the memory shorter under us. Otherwise what mmap says.
    pub fn open(file: &OwnedFd, room: usize) -> io::Result<Area> {
        let length = fixed_size(file.as_fd())?;
        if length.checked_sub(COUNT) != Some(room) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory of another size"));
        }
        Area::map(file, length, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn map(file: &OwnedFd, length: usize, access: ProtFlags) -> io::Result<Area> {
        let start = mapped(file.as_fd(), 0, length, access)?;
        // SAFETY: mapped just now.
        unsafe { crate::forked::leave_out(start.as_ptr().cast(), length) };
        Ok(Area { start, length })
    }

    /// Where the area begins. It is there, in its full length, as long as `self` exists.
    pub fn start(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// How much content there is room for, bytes.
    pub fn room(&self) -> usize {
        self.length - COUNT
    }

    /// The address of the `length` bytes at `offset`, and their number. `None`: they are not within the content. Both numbers
    /// may come from the process that writes.
    pub fn place(&self, offset: u64, length: u64) -> Option<(*const u8, usize)> {
        let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
        let is_within = offset.checked_add(length).is_some_and(|end| end <= self.room());
        is_within.then(|| (self.start().wrapping_add(offset), length))
    }

    fn counter(&self) -> &AtomicU32 {
        // Aligned, as the mapping begins at a page.
        let at = self.room().next_multiple_of(4);
        // SAFETY: `COUNT` bytes follow the room in the mapping.
        let start = unsafe { self.start.as_ptr().add(at) };
        // SAFETY: the place is there as long as `self` is. This process does nothing else with it, and the other
        // process changes no more than the number.
        unsafe { AtomicU32::from_ptr(start.cast()) }
    }

    /// How many things the writer has begun, by its own count; 0 when it cannot count.
    pub fn count(&self) -> u32 {
        // If the mapping is read-only, only a relaxed load is allowed.
        self.counter().load(Relaxed)
    }

    /// Counts one more, for the reader; the count never goes back to 0. For an area of [`Area::open`].
    pub fn count_one(&self) {
        let count = self.counter();
        count.store(count.load(Relaxed).wrapping_add(1).max(1), Release);
    }

    /// Writes `parts` one behind the other, as far as there is room. Returns how many bytes it wrote. For an area of
    /// [`Area::open`].
    pub fn write<'p>(&mut self, parts: impl Iterator<Item = &'p [u8]>) -> usize {
        let mut at = 0;
        for part in parts {
            let count = part.len().min(self.room() - at);
            // SAFETY: `at` is within the mapping.
            let to = unsafe { self.start.as_ptr().add(at) };
            // SAFETY: `at + count` is within the mapping, which is writable; nobody else of this process writes to it.
            unsafe { ptr::copy_nonoverlapping(part.as_ptr(), to, count) };
            at += count;
        }
        at
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        if crate::forked::is_child() {
            // A forked process does not have the mapping, and something else may be in its place.
            return;
        }
        // SAFETY: start and length are those of the mapping.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_can_be_read_and_not_changed() {
        let file = sealed(c"test", b"some bytes").expect("made");
        let copy = file.try_clone().expect("copied");
        assert!(crate::fd::write(file.as_fd(), b"x").is_err());
        assert!(ftruncate(&file, 0).is_err());
        assert_eq!(read_whole(file, 10).expect("read"), b"some bytes");
        assert!(read_whole(copy, 9).is_err());
        let (reader, _writer) = crate::fd::pipe().expect("pipe");
        assert!(read_whole(reader, 9).is_err());
    }

    #[test]
    fn what_one_end_writes_the_other_reads_and_neither_can_cut() {
        let (file, read) = Area::create(c"test", 8192).expect("made");
        let mut write = Area::open(&file, 8192).expect("mapped");
        assert_eq!(write.write([&b"one "[..], b"two"].into_iter()), 7);
        // SAFETY: within the area, and nobody writes now.
        assert_eq!(unsafe { std::slice::from_raw_parts(read.start(), 7) }, b"one two");
        assert_eq!(read.place(4, 3), Some((read.start().wrapping_add(4), 3)));
        assert_eq!(read.place(8192, 0), Some((read.start().wrapping_add(8192), 0)));
        assert_eq!((read.place(0, 8193), read.place(8190, 3), read.place(u64::MAX, 2)), (None, None, None));
        assert_eq!((write.room(), write.write([&[1; 9000][..]].into_iter())), (8192, 8192));
        assert_eq!(read.count(), 0);
        write.count_one();
        write.count_one();
        assert_eq!((read.count(), write.count()), (2, 2));
        assert!(ftruncate(&file, 0).is_err());
    }

    #[test]
    fn memory_that_somebody_can_cut_is_not_mapped() {
        let kind = |result: io::Result<Area>| result.expect_err("refused").kind();
        let loose = crate::fd::memfd(c"test").expect("made");
        crate::fd::write(loose.as_fd(), &[0; 8192 + COUNT]).expect("written");
        assert_eq!(kind(Area::open(&loose, 8192)), io::ErrorKind::InvalidData);
        assert!(Mapping::open(loose.as_fd()).is_err());
        let (short, _) = Area::create(c"test", 4096).expect("made");
        assert_eq!(kind(Area::open(&short, 8192)), io::ErrorKind::InvalidData);
        let (pipe, _writer) = crate::fd::pipe().expect("pipe");
        assert_eq!(kind(Area::open(&pipe, 8192)), io::ErrorKind::InvalidData);
        let zero: OwnedFd = std::fs::File::open("/dev/zero").expect("there").into();
        assert!(Mapping::open(zero.as_fd()).is_err());
        let (board, _) = Mapping::create(c"test", 1024).expect("made");
        assert!(ftruncate(&board, 0).is_err());
    }
}
