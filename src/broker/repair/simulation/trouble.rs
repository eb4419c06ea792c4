//! What goes wrong in the simulated world: links break, nodes restart, topics come and go.

use super::{Message, Node, To, Topic, World};

impl World {
    pub(super) fn disturb(&mut self) {
        let n = usize::try_from(self.random.below(3)).unwrap();
        let topic = self.topic();
        if self.random.one_in(400) {
            self.publish(n, &topic);
        }
        if self.random.one_in(self.weather.breaks) && self.nodes[n].down_until.is_none() {
            // Now and then longer than a publish is announced for.
            let longest = if self.random.one_in(250) { 5_000 } else { 500 };
            let for_ms = 50 + self.random.below(longest);
            self.break_link(n, for_ms);
        }
        if self.random.one_in(self.weather.restarts) {
            self.restart(n);
        }
        if self.weather.churn && self.random.one_in(20) && self.nodes[n].down_until.is_none() {
            match self.nodes[n].wanted.contains(&topic) {
                true => self.leave(n, &topic),
                false => self.want(n, &topic),
            }
        }
    }

    fn break_link(&mut self, n: usize, for_ms: u64) {
        let node = &mut self.nodes[n];
        node.down_until = Some(self.now + for_ms);
        node.reliability.link_lost();
        node.asking.0.clear();
        node.pushes.0.clear();
        // Of a subscription that was never acknowledged nothing was promised.
        let known = &node.known;
        node.ledger
            .due
            .retain(|(topic, _), _| known.contains(topic.as_str()));
        self.subscribed.values_mut().for_each(|nodes| {
            nodes.remove(&n);
        });
    }

    /// A node dies, with a last word or without one, and another takes its place at once or a while later.
    fn restart(&mut self, n: usize) {
        if self.random.below(2) == 0 {
            self.say(n, To::Nodes, &Message::Leaving);
            // All that is under way arrives at Redis.
            while let Some(up) = self.nodes[n].publishing.receive(u64::MAX) {
                self.redis_takes(n, up);
            }
        }
        let died = self.nodes[n].incarnation;
        self.subscribed.remove(&format!("!node:{died}"));
        // Nobody can say any more what of it is missing.
        for other in &mut self.nodes {
            other.ledger.due.retain(|(_, origin), _| *origin != died);
        }
        let (from, for_ms) = (self.instant(), 1 + self.random.below(1_000));
        self.last_incarnation += 1;
        let incarnation = self.last_incarnation;
        let node = &mut self.nodes[n];
        let wanted = std::mem::take(&mut node.wanted);
        *node = Node {
            wanted,
            ..Node::new(incarnation, &self.weather, from)
        };
        self.break_link(n, for_ms);
    }

    pub(super) fn mend_link(&mut self, n: usize) {
        let now = self.instant();
        let node = &mut self.nodes[n];
        node.down_until = None;
        node.link += 1;
        node.reliability.link_opened(node.link, now);
        let own = format!("!node:{}", node.incarnation);
        self.subscribed.entry(own).or_default().insert(n);
        let wanted: Vec<Topic> = self.nodes[n].wanted.iter().cloned().collect();
        for topic in wanted {
            self.want(n, &topic);
        }
    }
}
