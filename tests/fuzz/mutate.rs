//! The mutations: seeded dice, and what they do to an input.
//!
//! It asks for neither time nor entropy: one seed makes one series of inputs.

/// Longest input that is made, in bytes; the corpus itself may be longer.
const INPUT_BYTES_MAX: usize = 2_048;
/// Inputs that were taken and are mutated further.
const POOL_MAX: usize = 512;

/// Pseudo-random numbers (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when there is none.
    fn below(&mut self, bound: usize) -> usize {
        self.roll().checked_rem(bound as u64).unwrap_or(0) as usize
    }

    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// Lengths and numbers at which readers err.
const INTEGERS: [u64; 14] = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x10000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 63,
    u64::MAX,
];

/// What makes inputs of a corpus, a dictionary, and inputs that were taken before.
pub struct Mutator<'a> {
    dice: Dice,
    corpus: &'a [Vec<u8>],
    dictionary: &'a [&'a [u8]],
    pool: Vec<Vec<u8>>,
}

impl<'a> Mutator<'a> {
    pub fn new(seed: u64, corpus: &'a [Vec<u8>], dictionary: &'a [&'a [u8]]) -> Self {
        Self {
            dice: Dice::new(seed),
            corpus,
            dictionary,
            pool: Vec::new(),
        }
    }

    /// Makes the next input: a corpus entry or one that was taken, with one to eight mutations.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.start();
        for _ in 0..=self.dice.below(8) {
            self.mutate(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    /// Keeps an input that was taken, in place of an older one when there are many.
    pub fn keep(&mut self, input: Vec<u8>) {
        match self.pool.len() < POOL_MAX {
            true => self.pool.push(input),
            false => {
                let at = self.dice.below(POOL_MAX);
                self.pool[at] = input;
            }
        }
    }

    fn start(&mut self) -> Vec<u8> {
        let from_pool = !self.pool.is_empty() && self.dice.below(3) == 0;
        let entry = match from_pool {
            true => self.dice.pick(&self.pool),
            false => self.dice.pick(self.corpus),
        };
        // A window of a large entry: bombs stay bombs, and small ones get their share of the time.
        entry[..entry.len().min(INPUT_BYTES_MAX)].to_vec()
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.dice.below(input.len() + 1);
        let end = at + self.dice.below((input.len() - at).min(32) + 1);
        match self.dice.below(9) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.dice.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.dice.roll() as u8;
                }
            }
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => {
                let twice = input[at..end].to_vec();
                input.splice(at..at, twice);
            }
            5 => self.splice(input, at),
            6 => self.integer(input, at),
            7 => {
                let token = self.dice.pick(self.dictionary).to_vec();
                input.splice(at..at, token);
            }
            _ => {
                let token = self.dice.pick(self.dictionary).to_vec();
                input.splice(at..end, token);
            }
        }
    }

    /// Puts the end of another entry, or a part of it, at a place of this one.
    fn splice(&mut self, input: &mut Vec<u8>, at: usize) {
        let other = self.dice.pick(self.corpus);
        let from = self.dice.below(other.len() + 1);
        let length = self.dice.below((other.len() - from).min(256) + 1);
        let part = &other[from..from + length];
        match self.dice.below(2) {
            0 => drop(input.splice(at..at, part.iter().copied())),
            _ => {
                input.truncate(at);
                input.extend_from_slice(part);
            }
        }
    }

    /// Writes an integer over what is there: bytes of either order, or decimal digits.
    fn integer(&mut self, input: &mut Vec<u8>, at: usize) {
        let number = *self.dice.pick(&INTEGERS);
        let width = *self.dice.pick(&[1usize, 2, 4, 8]);
        let bytes = match self.dice.below(3) {
            0 => number.to_be_bytes()[8 - width..].to_vec(),
            1 => number.to_le_bytes()[..width].to_vec(),
            _ => number.to_string().into_bytes(),
        };
        let end = (at + bytes.len()).min(input.len());
        input.splice(at..end, bytes);
    }
}

#[test]
fn one_seed_makes_one_series() {
    let corpus = [b"[1,2]".to_vec(), b"{\"a\":1}".to_vec()];
    let series = |seed| {
        let mut mutator = Mutator::new(seed, &corpus, &[b"null"]);
        (0..100).map(|_| mutator.next_input()).collect::<Vec<_>>()
    };
    assert_eq!(series(1), series(1));
    assert_ne!(series(1), series(2));
}
