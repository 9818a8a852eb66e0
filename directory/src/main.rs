//! `whist-directory`: an authority of a Whist network.

use std::process::ExitCode;

fn main() -> ExitCode {
    whist_rt::main(|| whist_directory::cli::run(std::env::args_os()))
}
