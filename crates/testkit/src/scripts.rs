//! The project's `scripts/private`, which the demo uses too: each prepares a folder and becomes the peer.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tokio::io::AsyncWriteExt;

/// A command that runs `scripts/private/<name>`.
pub(crate) fn private(name: &str) -> Command {
    Command::new(root().join("scripts/private").join(name))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a program to its end with `input` on stdin.
pub(crate) async fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S], input: &str) -> Output {
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {program} (scripts/install-deps installs it): {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading all its input says why on stderr.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    child.wait_with_output().await.unwrap_or_else(|error| panic!("cannot wait for {program}: {error}"))
}

/// Like [`run`], and the program must succeed; gives what it wrote to stdout.
pub(crate) async fn run_well<S: AsRef<OsStr>>(program: &str, arguments: &[S], input: &str) -> String {
    let output = run(program, arguments, input).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} ended with {}: {stderr}\n{input}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder for one peer; removed when dropped.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("mtasts-test-")
        .tempdir()
        .unwrap_or_else(|error| panic!("no temporary folder: {error}"))
}
