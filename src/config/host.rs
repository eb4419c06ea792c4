//! What the machine tells a node: the name that it has when it is given none, and who started it.
//!
//! It never asks a network.

use std::ffi::OsString;

/// Returns the host's name and six random digits, so that two nodes of a host differ.
pub fn node_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let host: String = host.chars().filter(plain).take(64).collect();
    let host = if host.is_empty() { "node" } else { &host };
    let mut random = [0u8; 3];
    // Without entropy the process id still tells the nodes of one host apart.
    if getrandom::fill(&mut random).is_err() {
        let [.., a, b, c] = std::process::id().to_be_bytes();
        random = [a, b, c];
    }
    let [a, b, c] = random;
    format!("{host}-{a:02x}{b:02x}{c:02x}")
}

/// Returns where the supervisor of the process listens (`NOTIFY_SOCKET`, as systemd sets it), if there is one.
pub fn notify_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_of_one_host_differ_and_are_allowed() {
        let (one, two) = (node_name(), node_name());
        assert_ne!(one, two);
        assert_eq!(crate::config::text::name(&one), Ok(one.clone()));
    }
}
