//! A small disk in memory, to be filled: what is on it meets a full disk for real.
//!
//! It is unmounted with its owner, and absent where nothing may be mounted.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted directory with little room.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one with so many KiB; `None`, and a word why, where that is not allowed.
    pub fn mount(at: &Path, kib: usize) -> Option<Self> {
        std::fs::create_dir_all(at).ok()?;
        let mut mount = Command::new("mount");
        mount.args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={kib}k,mode=777"),
            "tmpfs",
        ]);
        let mounted = mount.arg(at).output().ok()?.status.success();
        if !mounted {
            eprintln!("skipped: no right to mount a small disk here");
        }
        mounted.then(|| Self(at.to_owned()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Fills one with a file that takes what is left.
    pub fn fill(at: &Path) {
        let ballast = File::create(at.join("ballast")).expect("a file");
        let mut out = BufWriter::new(ballast);
        while out.write_all(&[0; 4096]).is_ok() {}
        // What is still in the buffer has no room either.
        let _ = out.into_parts();
    }

    /// Removes that file.
    pub fn relieve(at: &Path) {
        std::fs::remove_file(at.join("ballast")).expect("the ballast");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the database's files may still be open.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "umount");
    }
}
