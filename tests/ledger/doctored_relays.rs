//! Doctored histories of relayed messages: lost, told, untold, doubled, swapped.
//!
//! They start no node; they are what makes a green verdict worth something.

use super::doctored::{Events, clean, events, place};
use super::relays::{RelayVerdict, judge};
use super::story::{Event, Kill, Ledger, Sound};

fn sound(number: u32) -> Sound {
    Sound {
        author: 0,
        connection: 1,
        number,
    }
}

/// The numbers after some doctoring of the listener: lost, told, untold, duplicated, disordered.
fn check(doctor: impl FnOnce(&mut Ledger), expected: (u64, u64, u64, u64, u64)) {
    let mut ledger = clean();
    doctor(&mut ledger);
    let RelayVerdict {
        lost,
        duplicated,
        disordered,
        told,
        untold,
        ..
    } = judge(&ledger);
    assert_eq!((lost, told, untold, duplicated, disordered), expected);
}

fn leave_out(events: &mut Events, number: u32) {
    events.retain(|(_, event)| *event != Event::Heard(sound(number)));
}

#[test]
fn a_message_that_is_missed_is_lost_wherever_it_was() {
    for number in [2, 6] {
        check(
            |ledger| leave_out(events(ledger, 1), number),
            (1, 0, 0, 0, 0),
        );
    }
}

#[test]
fn a_gap_tells_of_what_comes_after_the_last_one_before_the_hole() {
    check(
        |ledger| {
            let events = events(ledger, 1);
            leave_out(events, 6);
            events.push((99, Event::RelayGap));
        },
        (0, 1, 0, 0, 0),
    );
    // One that came before the hole tells nothing of it.
    check(
        |ledger| {
            let events = events(ledger, 1);
            leave_out(events, 6);
            let at = place(events, &Event::Heard(sound(5)));
            events.insert(at, (50, Event::RelayGap));
        },
        (1, 0, 0, 0, 0),
    );
}

#[test]
fn what_only_a_killed_node_knew_is_untold_and_nothing_else_is() {
    let killed = |at, opened: usize| {
        move |ledger: &mut Ledger| {
            let opening = Event::Opened { node: opened };
            events(ledger, 0).insert(0, (0, opening));
            leave_out(events(ledger, 1), 6);
            ledger.kills = vec![Kill { at, node: 1 }];
        }
    };
    check(killed(61, 1), (0, 0, 1, 0, 0));
    // Another node, long after it, or before it.
    check(killed(61, 0), (1, 0, 0, 0, 0));
    check(killed(60 + 2_600, 1), (1, 0, 0, 0, 0));
    check(killed(59, 1), (1, 0, 0, 0, 0));
}

#[test]
fn messages_that_come_twice_or_swapped_are_seen() {
    check(
        |ledger| events(ledger, 1).push((99, Event::Heard(sound(6)))),
        (0, 0, 0, 1, 0),
    );
    check(
        |ledger| {
            let events = events(ledger, 1);
            let first = place(events, &Event::Heard(sound(5)));
            let second = place(events, &Event::Heard(sound(6)));
            events.swap(first, second);
        },
        (0, 0, 0, 0, 1),
    );
}
