//! Certificates of an authority that only this test knows, and a web server that shows one; both by the openssl program.
//!
//! They are for `localhost` and 127.0.0.1, hold for two days and go with the test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// An authority, and what it signed.
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes an authority and a certificate.
    ///
    /// # Panics
    /// When openssl refuses.
    pub fn new() -> Self {
        let made = Self(TempDir::new().expect("a directory"));
        made.request("authority", &[]);
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
        let server = [
            "-CA",
            "authority.crt",
            "-CAkey",
            "authority.key",
            "-addext",
            names,
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ];
        made.request("server", &server);
        made
    }

    /// The certificate of the authority.
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("authority.crt")
    }

    /// The certificate of the server.
    pub fn server(&self) -> PathBuf {
        self.0.path().join("server.crt")
    }

    /// The private key of the server.
    pub fn key(&self) -> PathBuf {
        self.0.path().join("server.key")
    }

    fn request(&self, name: &str, more: &[&str]) {
        let mut openssl = Command::new("openssl");
        openssl
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '))
            .args(["-subj", &format!("/CN={name}")])
            .args(["-keyout", &format!("{name}.key")])
            .args(["-out", &format!("{name}.crt")])
            .args(more);
        let made = openssl.current_dir(&self.0).output();
        let made = made.expect("openssl is installed");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{name}: {said}");
    }
}

/// A web server of the files in a directory; one request a connection.
pub struct Site {
    program: Child,
    /// Its port, on loopback.
    pub port: u16,
}

impl Site {
    /// Starts it; it listens when this returns.
    ///
    /// # Panics
    /// When openssl refuses.
    pub fn start(certificates: &Certificates, files: &Path) -> Self {
        let mut openssl = Command::new("openssl");
        openssl
            .args(["s_server", "-accept", "127.0.0.1:0", "-WWW"])
            .arg("-cert")
            .arg(certificates.server())
            .arg("-key")
            .arg(certificates.key());
        let program = openssl
            .current_dir(files)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut program = program.expect("openssl is installed");
        let said = BufReader::new(program.stdout.take().expect("piped"));
        let port = said.lines().map_while(Result::ok).find_map(|line| {
            let at = line.strip_prefix("ACCEPT 127.0.0.1:")?;
            at.trim().parse().ok()
        });
        Self {
            program,
            port: port.expect("openssl says where it listens"),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
