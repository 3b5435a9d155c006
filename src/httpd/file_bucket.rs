//! A bucket for a part of a file, which it reads at an offset of its own. httpd's file buckets move the position of the
//! open file, and others share that position: the application may hand out one file object several times. Opening the
//! file again would read it with our rights, and not with those of the daemon process that sent it. Caller: `file`.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one record of APR's, one fact that makes it valid")]

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;

use wsgi_sys::fd;

use super::bindings;
use super::guard::guard;

/// Bytes read at a time.
const BLOCK: usize = 64 << 10;

/// What all buckets of one file share. The count comes first: APR changes it.
#[repr(C)]
struct Shared {
    count: bindings::apr_bucket_refcount,
    file: OwnedFd,
}

static TYPE: Type = Type(bindings::apr_bucket_type_t {
    name: c"WSGI_FILE".as_ptr(),
    num_func: 5,
    is_metadata: bindings::apr_bucket_type_t_APR_BUCKET_DATA,
    destroy: Some(destroy),
    read: Some(read),
    setaside: Some(bindings::apr_bucket_setaside_noop),
    split: Some(bindings::apr_bucket_shared_split),
    copy: Some(bindings::apr_bucket_shared_copy),
});

struct Type(bindings::apr_bucket_type_t);

// SAFETY: the record is never written; its pointers lead to constants.
unsafe impl Sync for Type {}

/// A bucket of `length` bytes from `offset`; `None` for numbers that the system does not have.
pub(super) fn create(
    file: OwnedFd,
    offset: u64,
    length: u64,
    allocator: *mut bindings::apr_bucket_alloc_t,
) -> Option<*mut bindings::apr_bucket> {
    let offset = i64::try_from(offset).ok()?;
    let length = bindings::apr_size_t::try_from(length).ok()?;
    let shared = Box::into_raw(Box::new(Shared { count: bindings::apr_bucket_refcount { refcount: 0 }, file }));
    // SAFETY: the allocator is a connection's.
    let bucket = unsafe { new(allocator) };
    // SAFETY: the bucket is new, and the record begins with the count that APR sets.
    unsafe {
        bindings::apr_bucket_shared_make(bucket, shared.cast(), offset, length);
        (*bucket).type_ = &raw const TYPE.0;
    }
    Some(bucket)
}

/// Memory for a bucket that belongs to no brigade.
///
/// # Safety
/// The allocator is valid.
unsafe fn new(allocator: *mut bindings::apr_bucket_alloc_t) -> *mut bindings::apr_bucket {
    // SAFETY: the contract above; a bucket of zeroes is valid before it has a type.
    unsafe {
        let bucket: *mut bindings::apr_bucket =
            bindings::apr_bucket_alloc(size_of::<bindings::apr_bucket>(), allocator).cast();
        ptr::write_bytes(bucket, 0, 1);
        (*bucket).link.next = bucket;
        (*bucket).link.prev = bucket;
        (*bucket).free = Some(bindings::apr_bucket_free);
        (*bucket).list = allocator;
        bucket
    }
}

/// # Safety
/// APR passes the data of a bucket of this type, once for each bucket.
unsafe extern "C" fn destroy(data: *mut c_void) {
    // SAFETY: the contract above; nobody has the record when the count is 0.
    guard(
        (),
        |_| {},
        || unsafe {
            if bindings::apr_bucket_shared_destroy(data) != 0 {
                drop(Box::from_raw(data.cast::<Shared>()));
            }
        },
    );
}

/// Turns the bucket into one with bytes in memory, and puts another one behind it for the rest of the file. If the file
/// has become shorter, that is an error, and the response is cut short.
///
/// # Safety
/// APR passes a bucket of this type, and valid places for the answers.
unsafe extern "C" fn read(
    bucket: *mut bindings::apr_bucket,
    bytes: *mut *const c_char,
    len: *mut bindings::apr_size_t,
    _block: bindings::apr_read_type_e,
) -> c_int {
    let failed = bindings::APR_EGENERAL as c_int;
    // SAFETY: the contract above.
    guard(failed, |_| {}, || unsafe { read_block(bucket, bytes, len) }.unwrap_or(failed))
}

/// # Safety
/// As [`read`].
unsafe fn read_block(
    bucket: *mut bindings::apr_bucket,
    bytes: *mut *const c_char,
    len: *mut bindings::apr_size_t,
) -> Option<c_int> {
    // SAFETY: the contract above; the record lives as long as the bucket's share in it.
    let (shared, start, length, list) =
        unsafe { ((*bucket).data.cast::<Shared>(), (*bucket).start, (*bucket).length, (*bucket).list) };
    let want = BLOCK.min(length);
    let mut block = vec![0; want];
    // SAFETY: as above.
    let got = fd::read_at(unsafe { (*shared).file.as_fd() }, &mut block, u64::try_from(start).ok()?).ok()?;
    if got == 0 && want > 0 {
        return None;
    }
    let left = length - got;
    // SAFETY: the bucket keeps its place; without a function to free it heap_make copies the block. The bucket's share
    // in the record goes to the bucket of the rest, or ends.
    unsafe {
        bindings::apr_bucket_heap_make(bucket, block.as_ptr().cast(), got, None);
        if left > 0 {
            let rest = new(list);
            (*rest).type_ = &raw const TYPE.0;
            (*rest).data = shared.cast();
            (*rest).start = start + got as i64;
            (*rest).length = left;
            bindings::wsgi_bucket_insert_after(bucket, rest);
        } else {
            destroy(shared.cast());
        }
        ((*bucket).type_.as_ref()?.read)?(bucket, bytes, len, bindings::apr_read_type_e_APR_BLOCK_READ);
    }
    Some(0)
}
