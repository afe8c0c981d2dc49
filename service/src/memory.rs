//! The allocator of every binary: mimalloc, for threads that allocate in parallel and free what others allocated.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
