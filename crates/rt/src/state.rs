//! A program's state folder: mode 0700, a version, and a lock against a second instance.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::{RtError, files, keys};

/// Longest `version` file that can be right.
const VERSION_BYTES_MAX: u64 = 100;

/// An open state folder. The lock is held until it is dropped, and by nobody after a kill.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the folder for `program` at `version` and opens it; used by `init`.
    ///
    /// # Errors
    /// If it already holds a state, is open to others, or the file system refuses.
    pub fn create(path: &Path, program: &str, version: u32) -> Result<Self, RtError> {
        keys::create_folder(path)?;
        let lock = lock(path)?;
        if version_file(path).exists() {
            return Err(RtError::Version {
                path: path.to_owned(),
                why: "already initialised".to_owned(),
            });
        }
        write_version(path, program, version)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Opens the folder of `program` at `version`. An older one is handed to `migrate` with its
    /// version; when that returns, the folder is of the new version.
    ///
    /// # Errors
    /// One line if a second instance holds it, others can enter it, it belongs to another program
    /// or a newer version, or `migrate` refuses with its reason.
    pub fn open(
        path: &Path,
        program: &str,
        version: u32,
        migrate: impl FnOnce(u32, &Path) -> Result<(), String>,
    ) -> Result<Self, RtError> {
        keys::check_folder(path)?;
        let lock = lock(path)?;
        files::sweep(path)?;
        let refuse = |why: String| RtError::Version {
            path: path.to_owned(),
            why,
        };
        let text = files::read(&version_file(path), VERSION_BYTES_MAX)?
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| refuse(format!("no state of {program}: run `{program} init` first")))?;
        let found = text
            .trim_end()
            .split_once(' ')
            .and_then(|(name, number)| Some((name, number.parse::<u32>().ok()?)));
        match found {
            Some((name, _)) if name != program => {
                return Err(refuse(format!("the state of {name}, not of {program}")));
            }
            Some((_, number)) if number > version => {
                return Err(refuse(format!(
                    "version {number}, newer than this program's {version}: use a newer {program}"
                )));
            }
            Some((_, number)) if number < version => {
                migrate(number, path).map_err(|why| {
                    refuse(format!(
                        "version {number} is not migrated to {version}: {why}"
                    ))
                })?;
                write_version(path, program, version)?;
            }
            Some(_) => {}
            None => return Err(refuse("unreadable version file".to_owned())),
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// For a program whose state has had one version so far.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub fn open_current(path: &Path, program: &str, version: u32) -> Result<Self, RtError> {
        Self::open(path, program, version, |_, _| {
            Err("too old for this program".to_owned())
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn version_file(path: &Path) -> PathBuf {
    path.join("version")
}

fn write_version(path: &Path, program: &str, version: u32) -> Result<(), RtError> {
    files::write_atomic(
        &version_file(path),
        format!("{program} {version}\n").as_bytes(),
    )
}

fn lock(path: &Path) -> Result<File, RtError> {
    let name = path.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(|error| RtError::file("open", &name, error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(RtError::InUse {
            path: path.to_owned(),
        }),
        Err(error) => Err(RtError::file("lock", &name, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_instance_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mix");
        let first = StateDir::create(&path, "whist-mix", 1).unwrap();
        let text = StateDir::open_current(&path, "whist-mix", 1)
            .unwrap_err()
            .to_string();
        assert!(
            text.ends_with("another instance is running on this folder"),
            "{text}"
        );
        drop(first);
        assert_eq!(
            StateDir::open_current(&path, "whist-mix", 1)
                .unwrap()
                .path(),
            path
        );
    }

    #[test]
    fn an_older_version_is_migrated_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mix");
        drop(StateDir::create(&path, "whist-mix", 1).unwrap());
        let refused = StateDir::open_current(&path, "whist-mix", 3);
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("version 1 is not migrated to 3")
        );
        let mut from = None;
        let opened = StateDir::open(&path, "whist-mix", 3, |version, _| {
            from = Some(version);
            Ok(())
        });
        drop(opened.unwrap());
        assert_eq!(from, Some(1));
        assert!(StateDir::open_current(&path, "whist-mix", 3).is_ok());
    }

    #[test]
    fn a_folder_of_another_program_a_newer_version_or_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mix");
        drop(StateDir::create(&path, "whist-mix", 2).unwrap());
        assert!(StateDir::create(&path, "whist-mix", 2).is_err());
        for (program, version) in [("whist-provider", 2), ("whist-mix", 1)] {
            let error = StateDir::open_current(&path, program, version).unwrap_err();
            assert!(matches!(error, RtError::Version { .. }), "{error}");
        }
        std::fs::remove_file(path.join("version")).unwrap();
        let error = StateDir::open_current(&path, "whist-mix", 2).unwrap_err();
        assert!(
            error.to_string().contains("run `whist-mix init` first"),
            "{error}"
        );
    }
}
