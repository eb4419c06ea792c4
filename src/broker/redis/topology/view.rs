//! What one look showed: which server has which slots, and how recent that is.
//!
//! Pure. A master that sentinels watch has every slot.

/// A host and a port.
pub(super) type Server = (String, u16);

/// Slots next to each other that one server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) owner: Server,
}

/// Who has what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    /// Of two views the one with the higher epoch is right.
    pub(super) epoch: u64,
    pub(super) ranges: Vec<Range>,
    pub(super) replicas: usize,
    /// Sentinels that watch; 0 in a cluster.
    pub(super) watchers: usize,
}

impl View {
    pub(super) fn owner(&self, slot: u16) -> Option<&Server> {
        let range = self
            .ranges
            .iter()
            .find(|range| (range.from..=range.to).contains(&slot));
        range.map(|range| &range.owner)
    }

    /// Returns one of the masters, another one each time.
    pub(super) fn anyone(&self) -> Option<&Server> {
        let nanos = crate::backoff::jitter(std::time::Duration::from_secs(1)).as_nanos();
        let at = usize::try_from(nanos).unwrap_or_default() % self.ranges.len().max(1);
        self.ranges.get(at).map(|range| &range.owner)
    }

    /// Returns the masters, each once.
    pub(super) fn owners(&self) -> Vec<Server> {
        let mut owners: Vec<Server> = self
            .ranges
            .iter()
            .map(|range| range.owner.clone())
            .collect();
        owners.sort();
        owners.dedup();
        owners
    }

    /// Says whether a server (`host:port`) is known not to be the one for a slot, or not a master any more.
    pub(super) fn has_left(&self, slot: Option<u16>, here: &str) -> bool {
        let is_here = |(host, port): &Server| format!("{host}:{port}") == here;
        match slot {
            // A slot that nobody has may come back to where it was.
            Some(slot) => self.owner(slot).is_some_and(|owner| !is_here(owner)),
            None => {
                !self.ranges.is_empty() && !self.ranges.iter().any(|range| is_here(&range.owner))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let range = |from, to, host: &str| Range {
            from,
            to,
            owner: (host.into(), 1),
        };
        View {
            epoch: 1,
            ranges: vec![range(0, 9, "a"), range(10, 10, "b"), range(20, 29, "a")],
            replicas: 0,
            watchers: 0,
        }
    }

    #[test]
    fn a_slot_has_one_owner_or_none() {
        let view = view();
        let owner = |slot| view.owner(slot).map(|(host, _)| host.as_str());
        assert_eq!(
            [9, 10, 11, 20].map(owner),
            [Some("a"), Some("b"), None, Some("a")]
        );
        assert_eq!(view.owners().len(), 2);
        assert!(view.anyone().is_some() && View::default().anyone().is_none());
    }

    #[test]
    fn a_server_has_left_when_another_one_is_known() {
        let view = view();
        assert!(view.has_left(Some(10), "a:1") && !view.has_left(Some(10), "b:1"));
        assert!(!view.has_left(Some(11), "a:1"), "nobody has it");
        assert!(view.has_left(None, "c:1") && !view.has_left(None, "b:1"));
        assert!(!View::default().has_left(None, "c:1"), "nothing is known");
    }
}
