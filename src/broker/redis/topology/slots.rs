//! The slots of a cluster: which slot a name is in, and names that spread over all of them.
//!
//! Pure: the rule is that of the Redis cluster specification.

/// Slots of a cluster.
pub(in crate::broker::redis) const SLOTS: u16 = 16_384;

/// Returns the slot of a hash tag or a name without one.
pub(in crate::broker::redis) fn slot(name: &[u8]) -> u16 {
    crc16(name) % SLOTS
}

/// CRC-16/XMODEM: polynomial 0x1021, from zero, nothing reflected.
pub(in crate::broker::redis) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let carry = crc & 0x8000 != 0;
            (crc << 1) ^ if carry { 0x1021 } else { 0 }
        })
    })
}

/// Returns the hash tag of one of so many lanes: the first number whose slot is in the lane's share of them.
///
/// It must never change: the nodes meet in these channels.
pub(in crate::broker::redis) fn tag(lane: u16, lanes: u16) -> String {
    let share = u32::from(SLOTS) / u32::from(lanes);
    let (from, lane) = (share * u32::from(lane), u32::from(lane));
    debug_assert!(share > 0 && lane < u32::from(lanes));
    (0u32..)
        .map(|number| number.to_string())
        .find(|tag| (from..from + share).contains(&u32::from(slot(tag.as_bytes()))))
        .expect("numbers reach every slot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b""), 0);
    }

    #[test]
    fn the_lanes_are_spread_evenly_over_the_slots() {
        for lanes in [1, 2, 16, 64, 256] {
            for lane in 0..lanes {
                let slot = slot(tag(lane, lanes).as_bytes());
                let share = SLOTS / lanes;
                assert_eq!(slot / share, lane, "{lane} of {lanes}");
            }
        }
    }

    #[test]
    fn tags_stay_what_they_are() {
        let tags: Vec<String> = (0..4).map(|lane| tag(lane, 4)).collect();
        assert_eq!(tags.join(" "), "3 2 1 0");
    }
}
