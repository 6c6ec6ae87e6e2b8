//! What becomes of memory that is given back.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// How long the allocator keeps freed memory before it returns it to the system, milliseconds: longer than a training step.
const KEPT_FOR: std::ffi::c_long = 60_000;

/// `mi_option_purge_delay`.
const PURGE_DELAY: mi_option_t = 15;

/// Lets mimalloc, where it is the program's allocator, keep freed memory for a minute, unless `MIMALLOC_PURGE_DELAY` says
/// otherwise: a training step takes and returns the same buffers over and over, and the system would clear every page of them.
pub fn keep_freed_memory() {
    #[expect(unsafe_code, reason = "the allocator's options are set through its C interface")]
    // SAFETY: writes a number into mimalloc's own table of options, at an index that the table has.
    unsafe {
        mi_option_set_default(PURGE_DELAY, KEPT_FOR);
    }
}
