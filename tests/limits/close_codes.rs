//! Every close code of the server, in one table: each is provoked on a real node and counted.
//!
//! 1011 stands for a fault of the gateway, which nobody can provoke: the table of reasons has it.

use std::collections::BTreeSet;
use std::time::Duration;

use fanfare::protocol::CloseReason;

use super::slow;
use crate::support::http;
use crate::support::limited::{guest, member, wire};
use crate::support::metrics::await_metric;
use crate::support::node::Node;
use crate::support::phoenix::Socket;
use crate::support::token;
use crate::support::ws::Op;

/// Provokes a close; the code that the client reads.
type Provoke = fn(&Node) -> Option<u16>;

const TABLE: [(&str, u16, Provoke); 9] = [
    ("idle", 1001, |node| wire(node).close_code()),
    ("disconnected", 1001, |node| {
        let mut ada = Socket::open(node.clients, &token::player("42", "ada"));
        let body = r#"{"socket_id": "user:42"}"#;
        let said = http::post(node.admin, "/api/v1/disconnect", &[], body);
        assert_eq!(said.status, 202, "{said:?}");
        ada.wire.close_code()
    }),
    ("a frame without a mask", 1002, |node| {
        let mut eve = wire(node);
        eve.unmasked(Op::Text, b"[]");
        eve.close_code()
    }),
    ("text that is not UTF-8", 1007, |node| {
        let mut eve = wire(node);
        eve.frame(true, Op::Text, &[0xff]);
        eve.close_code()
    }),
    ("ten malformed messages", 1008, |node| {
        let mut eve = wire(node);
        for _ in 0..10 {
            eve.text("rubbish");
        }
        eve.close_code()
    }),
    ("a token that expires", 1008, |node| {
        let now = std::time::UNIX_EPOCH
            .elapsed()
            .expect("after 1970")
            .as_secs();
        let claims = token::claims("42", "ada", now + 1);
        let mut ada = Socket::open(node.clients, &token::jwt(&claims, token::SECRET));
        ada.wire.close_code()
    }),
    ("a frame above its limit", 1009, |node| {
        let mut eve = wire(node);
        eve.announce(Op::Binary, 1024 * 1024);
        eve.close_code()
    }),
    ("a client that does not read", 1013, |node| {
        let mut stalled = member(node, "room:flood");
        slow::flood(node, "room:flood", &mut [], 1.0);
        stalled.wire.close_code()
    }),
    ("a close of the client's own", 1000, |node| {
        let mut ada = wire(node);
        ada.close(1000);
        ada.close_code()
    }),
];

#[test]
fn each_close_code_is_seen_and_counted() {
    // Without a spread the last one is told to go before it counts as idle.
    let mut node = slow::node("idle_seconds = 2\n[drain]\nspread = \"0s\"\n");
    let mut seen = BTreeSet::new();
    for (what, code, provoke) in TABLE {
        assert_eq!(provoke(&node), Some(code), "{what}");
        seen.insert(code);
        let series = format!("fanfare_connections_closed_total{{code=\"{code}\"}}");
        await_metric(&node, &series, |count| count >= 1.0);
    }
    let mut last = guest(&node);
    node.signal("INT");
    assert_eq!(last.wire.close_code(), Some(1012));
    assert_eq!(node.end("INT", Duration::from_secs(10)), Some(0));
    seen.insert(1012);
    let ours: BTreeSet<u16> = CloseReason::ALL.map(CloseReason::code).into();
    assert_eq!(
        ours.into_iter().collect::<Vec<_>>(),
        [1001, 1002, 1007, 1008, 1009, 1011, 1012, 1013]
    );
    let provoked: Vec<u16> = seen.into_iter().collect();
    assert_eq!(provoked, [1000, 1001, 1002, 1007, 1008, 1009, 1012, 1013]);
}
