//! `troupe`: the node and its client.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::cli::main()
}
