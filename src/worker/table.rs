//! Who on this worker subscribes to a topic, and the fan-out loop.
//!
//! The loop appends shared bytes to outboxes; it encodes, formats and allocates nothing per subscriber.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use slab::Slab;

use super::connection::Connection;
use crate::protocol::{Fastlane, Serializer, Topic};
use crate::pubsub::Deliver;
use crate::socket::ChannelId;

/// The most deliveries held back for one join; beyond, the client is too slow.
const HELD_MAX: usize = 10_000;

/// How deliveries reach a subscriber.
enum Mode {
    /// Its join is not answered yet: keep them, in order.
    Held(Vec<Deliver>),
    /// Straight to its outbox.
    Live,
    /// These events go through its channel, the others straight to its outbox.
    Intercepting(&'static [&'static str]),
}

struct Subscriber {
    connection: Rc<Connection>,
    channel: ChannelId,
    place: Place,
    mode: Mode,
}

/// Up to where a subscriber has a topic's records.
#[derive(Default)]
struct Place {
    floor: u64,
    /// The epoch that the floor is of; `None` until there is news of one.
    epoch: Option<Arc<str>>,
}

#[derive(Default)]
struct Group {
    /// Whether what other nodes publish arrives.
    ready: bool,
    subscribers: Slab<Subscriber>,
}

/// What a fan-out left to do.
#[derive(Default)]
pub(super) struct FanOut {
    /// How many outboxes took the frame.
    pub(super) delivered: u64,
    /// Subscribers whose serializer can't carry it.
    pub(super) skipped: u64,
    /// Connections whose outbox is full.
    pub(super) slow: Vec<Rc<Connection>>,
    /// Channels that intercept the event.
    pub(super) intercepted: Vec<(Rc<Connection>, ChannelId)>,
}

/// The subscribers of a worker by topic.
#[derive(Default)]
pub(super) struct Table {
    groups: RefCell<HashMap<Topic, Group>>,
}

impl Table {
    /// Adds a subscriber that is held back; returns its key and whether the topic is ready.
    pub(super) fn add(
        &self,
        topic: &Topic,
        connection: &Rc<Connection>,
        channel: ChannelId,
    ) -> (usize, bool) {
        let mut groups = self.groups.borrow_mut();
        let group = groups.entry(topic.clone()).or_default();
        let key = group.subscribers.insert(Subscriber {
            connection: connection.clone(),
            channel,
            place: Place::default(),
            mode: Mode::Held(Vec::new()),
        });
        (key, group.ready)
    }

    /// Notes that what other nodes publish on a topic arrives.
    pub(super) fn set_ready(&self, topic: &Topic) {
        if let Some(group) = self.groups.borrow_mut().get_mut(topic) {
            group.ready = true;
        }
    }

    /// Says whether what other nodes publish on a topic arrives.
    pub(super) fn is_ready(&self, topic: &Topic) -> bool {
        self.groups
            .borrow()
            .get(topic)
            .is_some_and(|group| group.ready)
    }

    /// Raises a subscriber's floor: records at or below it, or of another epoch, are not delivered.
    pub(super) fn set_floor(&self, topic: &Topic, key: usize, floor: u64, epoch: &str) {
        let mut groups = self.groups.borrow_mut();
        let subscriber = groups
            .get_mut(topic)
            .and_then(|group| group.subscribers.get_mut(key));
        if let Some(subscriber) = subscriber {
            let epoch = Some(Arc::from(epoch));
            subscriber.place = Place { floor, epoch };
        }
    }

    /// Lets deliveries through; returns those that were held back and are above the floor.
    pub(super) fn go_live(
        &self,
        topic: &Topic,
        key: usize,
        intercepts: &'static [&'static str],
    ) -> Vec<Deliver> {
        let mut groups = self.groups.borrow_mut();
        let subscriber = groups
            .get_mut(topic)
            .and_then(|group| group.subscribers.get_mut(key));
        let Some(subscriber) = subscriber else {
            return Vec::new();
        };
        let live = match intercepts {
            [] => Mode::Live,
            events => Mode::Intercepting(events),
        };
        let Mode::Held(mut held) = std::mem::replace(&mut subscriber.mode, live) else {
            return Vec::new();
        };
        held.retain(|deliver| subscriber.place.passes(deliver));
        held
    }

    /// Removes a subscriber; says whether the topic has none left.
    pub(super) fn remove(&self, topic: &Topic, key: usize) -> bool {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(topic) else {
            return false;
        };
        group.subscribers.try_remove(key);
        let empty = group.subscribers.is_empty();
        if empty {
            groups.remove(topic);
        }
        empty
    }

    /// Counts the subscribers of a topic whose join was answered.
    pub(super) fn count_live(&self, topic: &Topic) -> usize {
        let groups = self.groups.borrow();
        let Some(group) = groups.get(topic) else {
            return 0;
        };
        let live = |(_, one): &(usize, &Subscriber)| !matches!(one.mode, Mode::Held(_));
        group.subscribers.iter().filter(live).count()
    }

    /// Appends a delivery to the outbox of each subscriber; `touch` is told of each outbox.
    pub(super) fn fan_out(
        &self,
        deliver: &Deliver,
        except: Option<(&Rc<Connection>, ChannelId)>,
        touch: &mut impl FnMut(&Rc<Connection>),
    ) -> FanOut {
        let mut result = FanOut::default();
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&deliver.fastlane.broadcast().topic) else {
            return result;
        };
        let mut frames = Frames::new(&deliver.fastlane);
        for (_, subscriber) in &mut group.subscribers {
            if except.is_some_and(|(connection, channel)| {
                channel == subscriber.channel && Rc::ptr_eq(connection, &subscriber.connection)
            }) {
                continue;
            }
            match &mut subscriber.mode {
                Mode::Held(held) if held.len() < HELD_MAX => held.push(deliver.clone()),
                Mode::Held(_) => result.slow.push(subscriber.connection.clone()),
                Mode::Intercepting(events) if events.contains(&frames.event) => {
                    result
                        .intercepted
                        .push((subscriber.connection.clone(), subscriber.channel));
                }
                Mode::Live | Mode::Intercepting(_) => {
                    if !subscriber.place.passes(deliver) {
                        continue;
                    }
                    append(&subscriber.connection, &mut frames, &mut result, touch);
                }
            }
        }
        result
    }
}

impl Place {
    /// Says whether a delivery is news here; a topic that starts anew voids the floor of an epoch before.
    #[inline]
    fn passes(&mut self, deliver: &Deliver) -> bool {
        let Some(id) = deliver.id else { return true };
        let Some(epoch) = &deliver.epoch else {
            return id > self.floor;
        };
        match &self.epoch {
            Some(known) if Arc::ptr_eq(known, epoch) => !deliver.reset && id > self.floor,
            Some(known) if known == epoch => {
                // The same pointer makes the next look cheap.
                self.epoch = Some(Arc::clone(epoch));
                !deliver.reset && id > self.floor
            }
            // Left over from an epoch that ended before this subscriber joined.
            Some(_) if !deliver.reset => false,
            Some(_) | None => {
                if deliver.reset {
                    self.floor = id;
                }
                self.epoch = Some(Arc::clone(epoch));
                deliver.reset || id > self.floor
            }
        }
    }
}

/// The frames of a fan-out, looked up once a serializer.
struct Frames<'a> {
    fastlane: &'a Arc<Fastlane>,
    event: &'a str,
    v1: Option<Option<&'a Bytes>>,
    v2: Option<Option<&'a Bytes>>,
}

impl<'a> Frames<'a> {
    fn new(fastlane: &'a Arc<Fastlane>) -> Self {
        Self {
            fastlane,
            event: &fastlane.broadcast().event,
            v1: None,
            v2: None,
        }
    }

    #[inline]
    fn of(&mut self, serializer: Serializer) -> Option<&'a Bytes> {
        let fastlane = self.fastlane;
        let slot = match serializer {
            Serializer::V1 => &mut self.v1,
            Serializer::V2 => &mut self.v2,
        };
        *slot.get_or_insert_with(|| {
            fastlane
                .frame(serializer)
                .map(crate::protocol::Frame::bytes)
        })
    }
}

#[inline]
fn append(
    connection: &Rc<Connection>,
    frames: &mut Frames<'_>,
    result: &mut FanOut,
    touch: &mut impl FnMut(&Rc<Connection>),
) {
    let Some(bytes) = frames.of(connection.serializer) else {
        result.skipped += 1;
        return;
    };
    let pushed = connection.outbox.borrow_mut().push(bytes.clone());
    match pushed {
        Ok(()) => {
            result.delivered += 1;
            touch(connection);
        }
        Err(_) => result.slow.push(connection.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Broadcast, Payload};

    fn deliver(id: u64, epoch: Option<&str>, reset: bool) -> Deliver {
        Deliver {
            fastlane: Arc::new(Fastlane::new(Broadcast {
                topic: "t".try_into().unwrap(),
                event: "e".into(),
                payload: Payload::EMPTY,
            })),
            id: Some(id),
            epoch: epoch.map(Arc::from),
            reset,
            accepted_at: 0,
            remote: false,
        }
    }

    /// Which of these pass, one after the other, at a subscriber that joined epoch `b` at 5.
    fn check(deliveries: &[(u64, Option<&str>, bool)], expected: &[bool]) {
        let mut place = Place {
            floor: 5,
            epoch: Some("b".into()),
        };
        let passed: Vec<bool> = deliveries
            .iter()
            .map(|(id, epoch, reset)| place.passes(&deliver(*id, *epoch, *reset)))
            .collect();
        assert_eq!(passed, expected, "{deliveries:?}");
    }

    #[test]
    fn only_what_is_above_the_floor_passes() {
        let b = Some("b");
        check(&[(5, b, false), (6, b, false)], &[false, true]);
        check(&[(5, None, false), (6, None, false)], &[false, true]);
    }

    #[test]
    fn what_is_left_of_an_epoch_before_does_not_pass() {
        check(&[(99, Some("a"), false)], &[false]);
    }

    #[test]
    fn a_new_epoch_voids_the_floor_but_for_those_who_joined_in_it() {
        let c = Some("c");
        check(
            &[(2, c, true), (2, c, false), (3, c, false)],
            &[true, false, true],
        );
        let b = Some("b");
        check(
            &[(0, b, true), (5, b, false), (6, b, false)],
            &[false, false, true],
        );
    }
}
