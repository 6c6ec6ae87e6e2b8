//! The `collimate` program.

fn main() -> std::process::ExitCode {
    collimate::cli::main()
}
