//! Builds the programs that the network consists of.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::Fault;

const PACKAGES: [&str; 4] = ["whist-directory", "whist-mix", "whist-provider", "whist"];

static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The folder of the programs: `WHIST_PROGRAMS`, for who has just built them, as the gate has. Else
/// they are built once for each process, in the profile and the target folder of the running test;
/// other processes wait at cargo's own lock.
///
/// # Errors
/// If cargo fails; its words are in the fault.
pub fn programs() -> Result<PathBuf, Fault> {
    if let Some(folder) = std::env::var_os("WHIST_PROGRAMS") {
        return Ok(folder.into());
    }
    let mut built = BUILT
        .lock()
        .map_err(|_| Fault::new("an earlier build panicked"))?;
    if let Some(folder) = &*built {
        return Ok(folder.clone());
    }
    let folder = profile_folder()?;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").arg("--quiet").arg("--bins");
    cargo.arg("--manifest-path").arg(manifest);
    for package in PACKAGES {
        cargo.arg("--package").arg(package);
    }
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => {}
        Some(profile) => {
            cargo.arg("--profile").arg(profile);
        }
        None => return Err(Fault::new("the test does not run from a target folder")),
    }
    if let Some(target) = folder.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    let output = cargo.output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(Fault::new(format!("cargo build: {words}")));
    }
    Ok(built.insert(folder).clone())
}

/// `target/debug` of `target/debug/deps/test-0123`, or of `target/debug/whist-sim`.
fn profile_folder() -> Result<PathBuf, Fault> {
    let own = std::env::current_exe()?;
    let folder = own.parent().map(|folder| match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().unwrap_or(folder),
        _ => folder,
    });
    folder
        .map(Path::to_path_buf)
        .ok_or_else(|| Fault::new("the test has no folder"))
}
