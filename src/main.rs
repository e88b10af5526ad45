//! The `podium` binary, with the system's allocator, which `docs/size.md` compares with others.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::settle();
    podium::cli::run()
}

/// What glibc's allocator must be told, because the C code of cryptography and SQL uses it whatever Rust does.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;

    /// From `malloc.h`.
    const M_TRIM_THRESHOLD: c_int = -1;
    const M_MMAP_THRESHOLD: c_int = -3;

    /// The allocator's own value for both, which it raises with each larger block that is freed: after a single message of
    /// 32 MB it would keep as much for good.
    const LARGE: c_int = 128 * 1024;

    // mallopt(3), malloc_trim(3).
    // SAFETY: these are glibc's own declarations, and both take plain numbers. malloc_trim may be called at any time by any thread;
    // mallopt changes what others read without a lock, and only `settle` can call it, before there is another thread.
    unsafe extern "C" {
        safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
        safe fn malloc_trim(pad: usize) -> c_int;
    }

    /// Large blocks go back to the system when they are freed, and free pages between small ones when there is reason to.
    pub fn settle() {
        // What is refused stays as it was, and costs memory only.
        mallopt(M_MMAP_THRESHOLD, LARGE);
        mallopt(M_TRIM_THRESHOLD, LARGE);
        podium::observe::heap::give_back_with(|| {
            malloc_trim(0);
        });
    }
}
