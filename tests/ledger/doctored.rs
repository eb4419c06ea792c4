//! Doctored histories: the verdict must see each thing that was done to a clean one.
//!
//! They start no node; they are what makes a green ledger worth something.

use std::sync::Arc;

use super::relays;
use super::story::{End, Event, Gap, Ledger, Name, Room, Row, Sound, Story};
use super::verdict::{Verdict, judge};

const IDS: u64 = 6;

pub type Events = Vec<(u32, Event)>;

fn name(id: u64) -> Name {
    Name {
        author: 0,
        number: id as u32,
    }
}

fn received(id: u64) -> Event {
    Event::Received {
        id,
        uid: 100 + u128::from(id),
        name: name(id),
    }
}

fn joined(epoch: &str, last_id: u64, gaps: Vec<Gap>) -> Event {
    Event::Joined {
        epoch: epoch.into(),
        last_id,
        gaps,
    }
}

fn gap(from: u64, to: u64) -> Gap {
    Gap {
        from,
        to,
        reset: false,
        epoch: None,
    }
}

/// Client 0 writes six records and both clients get them; client 1 resumes after the third.
pub fn clean() -> Ledger {
    let both = [joined("e", 0, Vec::new()), Event::Listening];
    let mut writer = both.clone().map(|event| (0, event)).to_vec();
    let mut reader = writer.clone();
    for id in 1..=IDS {
        let (number, uid) = (id as u32, 100 + u128::from(id));
        let sound = Sound {
            author: 0,
            connection: 1,
            number,
        };
        if id == 4 {
            let again = joined("e", 4, Vec::new());
            let events = [Event::Ended(End::Broken), again, Event::Listening];
            reader.extend(events.map(|event| (10 * number - 5, event)));
        }
        let writes = [
            Event::Sent(number),
            received(id),
            Event::Acked { number, id, uid },
            Event::Said(sound),
            Event::SaidOk(sound),
            Event::Heard(sound),
        ];
        writer.extend(writes.map(|event| (10 * number, event)));
        let reads = [received(id), Event::Heard(sound)];
        reader.extend(reads.map(|event| (10 * number + 1, event)));
    }
    let story = |client, events| Story {
        client,
        room: 0,
        relay: 0,
        is_slow: false,
        events,
    };
    let row = |id: u64| Row {
        id,
        uid: 100 + u128::from(id),
        name: name(id),
        consistent: true,
    };
    Ledger {
        stories: vec![story(0, writer), story(1, reader)],
        rooms: vec![Room {
            epoch: Arc::from("e"),
            last_id: IDS,
            rows: (1..=IDS).map(row).collect(),
        }],
        wiped_ms: None,
        kills: Vec::new(),
    }
}

/// The events of a client, to be doctored.
pub fn events(ledger: &mut Ledger, client: usize) -> &mut Events {
    &mut ledger.stories[client].events
}

pub fn place(events: &[(u32, Event)], event: &Event) -> usize {
    let found = events.iter().position(|(_, one)| one == event);
    found.expect("the history has it")
}

/// The verdict after some doctoring must be this one, and no clean one.
fn check(doctor: impl FnOnce(&mut Ledger), expected: Verdict) {
    let mut ledger = clean();
    doctor(&mut ledger);
    let mut verdict = judge(&ledger);
    assert_eq!(verdict.is_clean(), expected.is_clean(), "{verdict:?}");
    verdict.findings.clear();
    assert_eq!(verdict, expected);
}

fn none() -> Verdict {
    Verdict::default()
}

#[test]
fn a_clean_history_is_clean() {
    check(|_| {}, none());
    assert_eq!(relays::judge(&clean()), relays::RelayVerdict::default());
}

#[test]
fn a_record_that_is_left_out_is_lost_and_was_not_told() {
    let leave_out = |id| {
        move |ledger: &mut Ledger| events(ledger, 1).retain(|(_, event)| *event != received(id))
    };
    let lost = Verdict {
        lost: 1,
        unreported: 1,
        ..none()
    };
    check(leave_out(2), lost.clone());
    check(leave_out(4), lost);
    // Nothing comes after the last one, so nothing is jumped over.
    check(leave_out(IDS), Verdict { lost: 1, ..none() });
}

#[test]
fn a_gap_that_covers_exactly_what_is_missing_is_fine() {
    check(
        |ledger| {
            let events = events(ledger, 1);
            let at = place(events, &received(2));
            events[at].1 = Event::Told(gap(2, 2));
        },
        Verdict {
            gap_ids: 1,
            ..none()
        },
    );
    let resumed = |gaps: Vec<Gap>| {
        move |ledger: &mut Ledger| {
            let events = events(ledger, 1);
            events.retain(|(_, event)| *event != received(4));
            let at = place(events, &joined("e", 4, Vec::new()));
            events[at].1 = joined("e", 4, gaps);
        }
    };
    check(
        resumed(vec![gap(4, 4)]),
        Verdict {
            gap_ids: 1,
            ..none()
        },
    );
    check(
        resumed(vec![gap(3, 4)]),
        Verdict {
            lost: 1,
            unreported: 2,
            ..none()
        },
    );
}

#[test]
fn a_gap_over_what_arrived_is_not_told_truly() {
    check(
        |ledger| {
            let events = events(ledger, 1);
            let at = place(events, &received(2));
            events.insert(at + 1, (99, Event::Told(gap(2, 2))));
        },
        Verdict {
            unreported: 1,
            ..none()
        },
    );
}

#[test]
fn a_record_that_comes_again_is_a_duplicate() {
    check(
        |ledger| events(ledger, 1).push((99, received(3))),
        Verdict {
            duplicated: 1,
            ..none()
        },
    );
    // Also when it is history after a resume.
    check(
        |ledger| {
            let events = events(ledger, 1);
            let at = place(events, &received(4));
            events.insert(at, (99, received(3)));
        },
        Verdict {
            duplicated: 1,
            ..none()
        },
    );
}

#[test]
fn two_records_that_are_swapped_are_out_of_order() {
    check(
        |ledger| {
            let events = events(ledger, 1);
            let (first, second) = (place(events, &received(1)), place(events, &received(2)));
            events.swap(first, second);
        },
        Verdict {
            disordered: 1,
            unreported: 1,
            ..none()
        },
    );
}

#[test]
fn another_record_under_the_same_id_is_altered() {
    check(
        |ledger| {
            let events = events(ledger, 1);
            let at = place(events, &received(5));
            events[at].1 = Event::Received {
                id: 5,
                uid: 102,
                name: name(2),
            };
        },
        Verdict {
            altered: 1,
            ..none()
        },
    );
}

#[test]
fn an_acknowledgement_without_its_row_is_seen() {
    check(
        |ledger| {
            let events = events(ledger, 0);
            let acked = |id| Event::Acked {
                number: 3,
                id,
                uid: 103,
            };
            let at = place(events, &acked(3));
            events[at].1 = acked(9);
        },
        // The fourth is behind the ninth then, too.
        Verdict {
            unstored: 1,
            disordered: 1,
            ..none()
        },
    );
    check(
        |ledger| {
            events(ledger, 0).retain(|(_, event)| !matches!(event, Event::Acked { number: 3, .. }))
        },
        Verdict {
            unanswered: 1,
            ..none()
        },
    );
    // A retry that got another answer than the first one.
    check(
        |ledger| {
            let again = Event::Acked {
                number: 3,
                id: 4,
                uid: 104,
            };
            events(ledger, 0).push((99, again));
        },
        Verdict {
            unstored: 2,
            ..none()
        },
    );
}

#[test]
fn a_record_that_is_stored_twice_is_seen() {
    check(
        |ledger| ledger.rooms[0].rows[3].name = name(3),
        Verdict {
            misstored: 1,
            unstored: 1,
            altered: 1,
            ..none()
        },
    );
}

#[test]
fn a_row_that_nobody_got_is_undelivered() {
    check(
        |ledger| {
            for client in [0, 1] {
                events(ledger, client).retain(|(_, event)| *event != received(IDS));
            }
        },
        Verdict {
            undelivered: 1,
            lost: 2,
            ..none()
        },
    );
}

#[test]
fn a_publishers_records_are_stored_in_its_order() {
    check(
        |ledger| {
            let events = events(ledger, 0);
            let (first, second) = (
                place(events, &Event::Sent(2)),
                place(events, &Event::Sent(3)),
            );
            let sent = events.remove(second);
            events.insert(first, sent);
        },
        Verdict {
            disordered: 1,
            ..none()
        },
    );
}

#[test]
fn a_new_epoch_must_be_told() {
    let renewed = |gaps: Vec<Gap>| {
        move |ledger: &mut Ledger| {
            let events = events(ledger, 1);
            let at = place(events, &joined("e", 4, Vec::new()));
            events[at].1 = joined("e", 4, gaps);
            for (_, event) in &mut events[..at] {
                if let Event::Joined { epoch, .. } = event {
                    *epoch = Arc::from("older");
                }
            }
        }
    };
    let reset = Gap {
        reset: true,
        ..gap(1, 3)
    };
    check(
        renewed(vec![reset]),
        Verdict {
            gap_ids: 3,
            ..none()
        },
    );
    // Untold, and then 4 is not the first of the new epoch.
    check(
        renewed(Vec::new()),
        Verdict {
            lost: 3,
            unreported: 2,
            ..none()
        },
    );
}
