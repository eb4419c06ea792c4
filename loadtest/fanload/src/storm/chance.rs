//! Chances from a seed, the same on every machine.
//!
//! Only additions, products and square roots: what IEEE 754 fixes to the bit.

/// A sequence of chances (SplitMix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Starts the sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 up to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a number about 0 with a variance of 1: twelve units less their mean.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// Throws `balls` into so many equal boxes; about as a fair throw of each would fall.
    pub fn scatter(&mut self, balls: u64, boxes: &mut [u64]) {
        let mut left = balls;
        let count = boxes.len();
        for (at, holds) in boxes.iter_mut().enumerate() {
            let share = 1.0 / (count - at) as f64;
            let mean = left as f64 * share;
            let spread = (mean * (1.0 - share)).sqrt();
            let falls = (mean + spread * self.bell()).round().max(0.0) as u64;
            *holds = if at + 1 == count {
                left
            } else {
                falls.min(left)
            };
            left -= *holds;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ball_is_lost_and_no_box_favoured() {
        let (mut chance, mut boxes) = (Chance::new(1), [0; 20]);
        for balls in [0, 1, 7, 100_000] {
            chance.scatter(balls, &mut boxes);
            assert_eq!(boxes.iter().sum::<u64>(), balls);
        }
        assert!(
            boxes.iter().all(|holds| holds.abs_diff(5_000) < 400),
            "{boxes:?}"
        );
        assert!(boxes.iter().any(|holds| *holds != 5_000));
    }
}
