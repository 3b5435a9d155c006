//! A part of a file as the rest of a response. With sendfile httpd writes it itself, and frees its thread meanwhile
//! where the MPM can.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;

use wsgi_sys::memory::Window;
use wsgi_sys::{fd, temporary};

use super::bindings;
use super::file_bucket;
use super::output::{Output, Then};
use super::request::Request;

/// A part of a regular file.
#[derive(Debug)]
pub(crate) struct FileBody {
    /// The file, open for reading.
    pub(crate) file: OwnedFd,
    /// Of the part's first byte.
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) length: u64,
    /// `sendfile` may be used on it.
    pub(crate) sendfile: bool,
}

/// Why a file is no (complete) body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileError {
    /// What was passed is no regular file, or is shorter than said.
    Unfit,
    /// It became shorter while it was sent.
    Shrunk,
    /// The client is gone, or a filter failed.
    Broken,
    /// httpd has no memory or descriptor for it.
    Refused,
}

/// Bytes mapped at a time.
const WINDOW: usize = 4 << 20;
/// What offsets of mappings are multiples of: the largest page size of the systems that we run on.
const PAGE: u64 = 64 << 10;
/// Filters that look at no byte of a body that is not chunked: those of every request, in httpd's lower case.
const BLIND: [&[u8]; 6] = [b"byterange", b"content_length", b"http_header", b"http_outerror", b"core", b"reqtimeout"];
/// Bytes read at a time.
const BLOCK: usize = 256 << 10;

/// Longest part in one bucket, bytes: what apr_brigade_insert_file allows.
const BUCKET: u64 = 1 << 30;
/// About so many of them make up a file, however large it is.
const MOST_BUCKETS: u64 = 4096;

impl FileBody {
    /// Why it could not be passed on.
    fn failure(&self) -> FileError {
        if self.is_there() { FileError::Broken } else { FileError::Shrunk }
    }

    /// Whether it is a regular file that its sender could read, as long as was said. The child uses the descriptor as
    /// it is and never opens the file again, because it would do that with the rights of httpd's user.
    fn is_fit(&self) -> bool {
        fd::is_readable(self.file.as_fd()) && self.is_there()
    }

    fn is_there(&self) -> bool {
        let end = self.offset.checked_add(self.length);
        let size = temporary::regular_size(self.file.as_fd());
        size.zip(end).is_some_and(|(size, end)| end <= size)
    }
}

impl Output<'_> {
    /// Passes `body` and the end of the response.
    ///
    /// # Errors
    /// [`FileError`]; after `Unfit` and `Refused` nothing was passed, after the others the response is to be cut short.
    pub(crate) fn pass_file(&mut self, body: &FileBody) -> Result<(), FileError> {
        if !body.is_fit() {
            return Err(FileError::Unfit);
        }
        // Parts (Range) are cut out of what comes in one piece with the end of the response.
        if self.request().headers_in().get(c"Range").is_some() {
            self.append_part(body)?;
        } else if body.sendfile && self.request().is_only_written() {
            self.append_file(body)?;
            self.pass_on(Then::More).map_err(|_| body.failure())?;
        } else {
            self.pass_blocks(body)?;
        }
        if !body.is_there() {
            return Err(FileError::Shrunk);
        }
        self.pass_on(Then::End).map_err(|_| body.failure())
    }

    /// Passes the part on, block by block. That is faster than file buckets: httpd reads 8 KB of these at a time where
    /// it may neither map the file nor use sendfile.
    fn pass_blocks(&mut self, body: &FileBody) -> Result<(), FileError> {
        // If only the kernel touches the bytes, the child need not read them.
        let maps = self.request().is_only_written();
        let mut memory = Vec::new();
        let (mut at, mut left) = (body.offset, body.length);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX);
            let passed = match maps.then(|| self.pass_window(body, at, want)).flatten() {
                Some(passed) => passed?,
                None => self.pass_read(body, at, want.min(BLOCK), &mut memory)?,
            };
            at += passed as u64;
            left -= passed as u64;
        }
        Ok(())
    }

    /// Passes at most `want` bytes from `at`, mapped; how many. Nothing when they cannot be mapped.
    fn pass_window(&mut self, body: &FileBody, at: u64, want: usize) -> Option<Result<usize, FileError>> {
        let skipped = usize::try_from(at % PAGE).ok()?;
        let length = want.min(WINDOW - skipped);
        let window = Window::on(body.file.as_fd(), at - skipped as u64, skipped + length).ok()?;
        // SAFETY: `is_only_written`: no filter reads the bytes, and a system call that cannot says so.
        unsafe { self.append_memory(window.start().wrapping_add(skipped), length) };
        let passed = self.pass_on(Then::Flush);
        Some(passed.map(|()| length).map_err(|_| body.failure()))
    }

    /// Reads at most `want` bytes from `at` and passes them; how many.
    fn pass_read(&mut self, body: &FileBody, at: u64, want: usize, memory: &mut Vec<u8>) -> Result<usize, FileError> {
        memory.resize(want.max(memory.len()), 0);
        match fd::read_at(body.file.as_fd(), &mut memory[..want], at) {
            Ok(count) if count > 0 => {
                // Filters would have to copy what they keep of a block.
                self.pass([&memory[..count]], Then::Flush).map_err(|_| FileError::Broken)?;
                Ok(count)
            }
            _ => Err(FileError::Shrunk),
        }
    }

    /// Appends it as one bucket.
    fn append_part(&mut self, body: &FileBody) -> Result<(), FileError> {
        let file = body.file.try_clone().map_err(|_| FileError::Refused)?;
        let bucket = file_bucket::create(file, body.offset, body.length, self.allocator()).ok_or(FileError::Unfit)?;
        self.append(bucket);
        Ok(())
    }

    /// Appends it for sendfile, which does not move the file's position.
    fn append_file(&mut self, body: &FileBody) -> Result<(), FileError> {
        let pool = self.request().pool().raw();
        let flags = (bindings::APR_FOPEN_READ | bindings::APR_FOPEN_SENDFILE_ENABLED) as i32;
        let (mut lent, mut owned) = (ptr::null_mut(), ptr::null_mut());
        let mut fd = body.file.as_raw_fd();
        // SAFETY: the places for the answers are valid; httpd closes only the duplicate, which belongs to the pool
        // and moves with its bucket when the rest is written later.
        let status = unsafe {
            match bindings::apr_os_file_put(&raw mut lent, &raw mut fd, flags, pool) {
                0 => bindings::apr_file_dup(&raw mut owned, lent, pool),
                status => status,
            }
        };
        if status != 0 {
            return Err(FileError::Refused);
        }
        let (mut at, mut left) = (body.offset, body.length);
        while left > 0 {
            // A file with holes may be of any size.
            let part = left.min(BUCKET.max(body.length / MOST_BUCKETS));
            let offset = i64::try_from(at).map_err(|_| FileError::Unfit)?;
            let allocator = self.allocator();
            // SAFETY: file, pool and allocator live as long as the request; the length is below the type's limit.
            let bucket = unsafe {
                let bucket =
                    bindings::apr_bucket_file_create(owned, offset, part as bindings::apr_size_t, pool, allocator);
                // httpd would die if the file became shorter under a mapping.
                bindings::apr_bucket_file_enable_mmap(bucket, 0);
                bucket
            };
            self.append(bucket);
            at += part;
            left -= part;
        }
        Ok(())
    }
}

impl Request<'_> {
    /// Nothing but the system call that writes a body to the client will touch it: no filter of content, no TLS.
    pub(super) fn is_only_written(self) -> bool {
        // SAFETY: the request is valid.
        let mut filter = unsafe { (*self.raw()).output_filters };
        while !filter.is_null() {
            // SAFETY: a filter in the chain of the request, and its registration, whose name is a C string.
            let (name, next) = unsafe { (super::bytes((*(*filter).frec).name), (*filter).next) };
            if !BLIND.contains(&name) {
                return false;
            }
            filter = next;
        }
        true
    }

    /// Whether httpd's `EnableSendfile` is on for this request.
    pub(crate) fn allows_sendfile(self) -> bool {
        // SAFETY: the core's record of the directory is always there, of this type.
        let core = unsafe { bindings::wsgi_core_dir_config(self.raw()).as_ref() };
        core.is_some_and(|core| core.enable_sendfile() == bindings::ENABLE_SENDFILE_ON)
    }
}
