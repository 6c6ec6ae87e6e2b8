//! The `collimate` program.

/// Training takes and returns large buffers all the time; this allocator keeps them instead of asking the kernel for zeroed
/// pages again and again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    collimate_kernels::keep_freed_memory();
    collimate::cli::main()
}
