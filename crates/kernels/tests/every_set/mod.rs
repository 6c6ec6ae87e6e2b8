//! The tests of a file on every instruction set that this machine has.

use std::process::Command;

use collimate_kernels::InstructionSet;

/// Runs this test binary once per set, without the test called `except`, which calls this.
pub(crate) fn rerun(except: &str) {
    let binary = std::env::current_exe().expect("a test runs in a binary");
    for set in InstructionSet::available() {
        let run = Command::new(&binary).env("COLLIMATE_ISA", set.name()).args(["--skip", except]).output();
        let run = run.expect("a test binary can be started");
        assert!(run.status.success(), "{set}:\n{}", String::from_utf8_lossy(&run.stdout));
    }
}
