//! `policy.toml` and `policy.tests.toml` in the root agree. No other test here reads them.

use std::{path::Path, process::Command};

#[test]
fn the_shipped_rules_pass_tests_that_exercise_all_of_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO_BIN_EXE_okta-policy"))
        .args(["test", "--strict"])
        .current_dir(root)
        .env_remove("POLICY_FILE")
        .env_remove("POLICY_MAX_BYTES")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
