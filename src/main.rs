//! The `podium` binary.

use std::process::ExitCode;

/// Bursts of handshakes and messages leave few holes behind with it; see docs on sizing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    podium::cli::run()
}
