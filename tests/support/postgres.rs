//! A private Postgres: a fresh cluster in a temporary directory, on a free port of the loopback.
//!
//! It never uses a server that the machine runs already.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{self, Finished};

const LIMIT: Duration = Duration::from_secs(60);

/// A running cluster with one database, `postgres`, and one role, `postgres`.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    binaries: PathBuf,
    dir: TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it.
    ///
    /// # Panics
    /// When Postgres is not installed, or does not start within 60 s.
    pub fn start() -> Self {
        let dir = TempDir::new().expect("a directory for the cluster");
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(dir.path(), open).expect("a directory of ours");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        drop(listener);
        let server = Self {
            port,
            binaries: binaries(),
            dir,
        };
        let cluster = server.cluster();
        let made = server.run(
            "initdb",
            &[
                "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "-D", &cluster,
            ],
        );
        assert_eq!(made.code, Some(0), "{made:?}");
        let log = server.dir.path().join("log").display().to_string();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        );
        let started = server.run(
            "pg_ctl",
            &["-w", "-D", &cluster, "-l", &log, "-o", &options, "start"],
        );
        assert_eq!(started.code, Some(0), "{started:?}");
        server
    }

    /// Its URL, for the node and for the test.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn cluster(&self) -> String {
        self.dir.path().join("cluster").display().to_string()
    }

    /// Runs one of its programs, as the user `postgres` when the test is root.
    fn run(&self, program: &str, args: &[&str]) -> Finished {
        let program = self.binaries.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                "--",
            ]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("LC_ALL", "C");
        process::run(&mut command, LIMIT)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stopped = self.run(
            "pg_ctl",
            &["-D", &self.cluster(), "-m", "immediate", "stop"],
        );
        if stopped.code != Some(0) {
            eprintln!("postgres was not stopped: {stopped:?}");
        }
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout == b"0\n"
}

/// The newest installation.
fn binaries() -> PathBuf {
    let root = Path::new("/usr/lib/postgresql");
    let listed = fs::read_dir(root).into_iter().flatten().flatten();
    let version = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str);
        name.and_then(|name| name.parse::<u32>().ok())
    };
    let found = listed
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/initdb").exists());
    let newest = found.max_by_key(version);
    newest
        .expect("no Postgres in /usr/lib/postgresql: run `make setup`")
        .join("bin")
}
