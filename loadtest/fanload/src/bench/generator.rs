//! A generator as a process of its own, so that it has a core and descriptors of its own.
//!
//! Its figures come back as the line of JSON that it prints.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};

use super::process::{Pin, Process, command};
use super::settings::Settings;
use crate::report::Report;

/// A running generator.
pub struct Generator {
    process: Process,
    say: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
}

impl Generator {
    /// Starts a generator; arguments stand between blanks.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(settings: &Settings, pin: Pin, arguments: &str) -> io::Result<Self> {
        let mut command = command(&settings.fanload, pin);
        command.arg("run").args(arguments.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let hear = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no output"))?;
        Ok(Self {
            say: child.stdin.take(),
            hear: BufReader::new(hear),
            process: Process(child),
        })
    }

    /// Starts one with a gate and waits until its sockets have joined.
    ///
    /// # Errors
    /// When they don't.
    pub fn ready(settings: &Settings, pin: Pin, arguments: &str) -> io::Result<Self> {
        let mut generator = Self::start(settings, pin, &format!("{arguments} --gate"))?;
        match generator.line()?.as_str() {
            "ready" => Ok(generator),
            other => Err(io::Error::other(format!("a generator said {other:?}"))),
        }
    }

    /// Opens its gate.
    ///
    /// # Errors
    /// When it is gone.
    pub fn go(&mut self) -> io::Result<()> {
        match &mut self.say {
            Some(say) => say.write_all(b"go\n"),
            None => Ok(()),
        }
    }

    /// Waits for its figures.
    ///
    /// # Errors
    /// When it gives up, or says something else.
    pub fn report(mut self) -> io::Result<Report> {
        let line = self.line()?;
        self.process.0.wait()?;
        Ok(serde_json::from_str(&line)?)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.hear.read_line(&mut line)? {
            0 => Err(io::Error::other("the generator gave up")),
            _ => Ok(line.trim().to_owned()),
        }
    }
}

/// Runs a generator to its end.
///
/// # Errors
/// When it gives up.
pub fn generate(settings: &Settings, pin: Pin, arguments: &str) -> io::Result<Report> {
    Generator::start(settings, pin, arguments)?.report()
}
