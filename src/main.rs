//! The program `fanfare`: reads the settings, starts the log, runs the command, exits.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. It does nothing else itself.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use fanfare::auth::{TokenError, Verifier};
use fanfare::config::{
    Command, Grant, Invocation, LogFormat, Refusal, Settings, log_directives, one_line,
};
use fanfare::{clock, gateway};
use tracing_subscriber::EnvFilter;

/// Small and even for millions of sockets, and what they leave behind goes back to the system.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Pages that are free for two seconds are given back, by a thread of the allocator's own. Small objects lie side by
/// side in eight pages: what the allocator keeps of each such run (128 bytes) it never gives back.
///
/// # Safety
/// The allocator reads this symbol once, at its start, as C text: it ends with a zero byte and never changes.
#[allow(unsafe_code)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8; 80] =
    b"background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:0,slab_sizes:1-4096:8\0";

/// Why the process ends with an error: the exit code and one line.
struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    fn usage(line: impl ToString) -> Self {
        Self {
            code: 2,
            line: line.to_string(),
        }
    }

    fn runtime(line: impl ToString) -> Self {
        Self {
            code: 1,
            line: line.to_string(),
        }
    }
}

fn main() -> ExitCode {
    let done = match Invocation::of_process() {
        Ok(invocation) => run(invocation),
        Err(Refusal::Answer(text)) => print(text.trim_end()),
        Err(Refusal::Usage(line)) => Err(Failure::usage(line)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("fanfare: {}", one_line(&failure.line));
            ExitCode::from(failure.code)
        }
    }
}

fn run(invocation: Invocation) -> Result<(), Failure> {
    let mut settings = Settings::load(&invocation.flags).map_err(Failure::usage)?;
    start_log(&settings)?;
    match invocation.command {
        Command::Serve => {
            for warning in settings.warnings() {
                tracing::warn!("{warning}");
            }
            gateway::log_panics();
            settings.make_secret();
            gateway::serve(settings).map_err(Failure::runtime)
        }
        Command::Migrate => gateway::migrate(settings).map_err(Failure::runtime),
        Command::Check => gateway::check(settings).map_err(Failure::runtime),
        Command::Probe(probe) => gateway::probe(settings, &probe).map_err(Failure::runtime),
        Command::Token(grant) => token(&settings, &grant),
    }
}

fn token(settings: &Settings, grant: &Grant) -> Result<(), Failure> {
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot sign a token: {why}; set FANFARE_SECRET_KEY_BASE"
        ))
    };
    let verifier = Verifier::new(&settings.auth).map_err(|error| cannot(&error))?;
    let token = verifier
        .sign(
            &grant.sub,
            grant.name.as_deref(),
            grant.ttl,
            clock::unix_s(),
        )
        .map_err(|error| match error {
            TokenError::Unsigned => cannot(&"public keys only verify"),
            _ => {
                Failure::usage("--sub and --name must be 1 to 255 bytes without control characters")
            }
        })?;
    print(&token)
}

fn print(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}")
        .map_err(|error| Failure::runtime(format!("cannot write to standard output: {error}")))
}

fn start_log(settings: &Settings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(log_directives(&settings.log_level)).map_err(Failure::usage)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.log {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
