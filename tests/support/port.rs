//! Ports for the servers that a test starts: each is one test's alone.
//!
//! A port that the kernel gives (port 0) is taken from those of outgoing connections, and is given to the next of them
//! before the server starts, or while it is restarted. These lie below.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// The lowest port that is taken.
const LOWEST: u16 = 10_240;

/// The first port of outgoing connections where nobody says another.
const FIRST_OUTGOING: u16 = 32_768;

/// What this process has claimed: a claim is the same port of UDP, so no process has to tidy up.
static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// Returns a port of the loopback address that nothing uses, and that no other test is given while this process lives.
pub fn free_port() -> u16 {
    let mut claims = CLAIMS.lock().expect("no claim panics");
    let ports = LOWEST..first_outgoing();
    // Processes begin apart, so that they seldom meet; where they do, the claim decides.
    let apart = std::process::id() as usize * 97 % ports.len();
    let in_turn = ports.clone().cycle().skip(apart + claims.len());
    for port in in_turn.take(ports.len()) {
        let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            claims.push(claim);
            return port;
        }
    }
    panic!("every port from {LOWEST} up is taken");
}

/// Returns the first port that the kernel gives to outgoing connections.
fn first_outgoing() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = range
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok());
    first.unwrap_or(FIRST_OUTGOING).max(LOWEST + 1_000)
}
