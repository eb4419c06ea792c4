//! What is left out of what Redis publishes: single messages, runs, or all.
//!
//! It understands RESP3 just enough to leave out whole messages; everything else passes as it is.

use bytes::{Buf, BytesMut};

use super::dice::Dice;
use crate::support::proxy::{message, value};

/// Messages of one run that is left out.
const RUN: u32 = 8;

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sieve {
    /// Nothing.
    Open,
    /// One message in a hundred.
    Singles,
    /// One message in a hundred, in runs.
    Runs,
    /// Every message.
    Shut,
}

/// One connection's bytes from Redis.
pub struct Sifter {
    buffer: BytesMut,
    dice: Dice,
    /// How many more messages of a run are left out.
    run: u32,
}

impl Sifter {
    /// Starts at the beginning of a connection.
    pub fn new(dice: Dice) -> Self {
        Self {
            buffer: BytesMut::new(),
            dice,
            run: 0,
        }
    }

    /// Takes bytes and gives those that pass: whole values only.
    pub fn pass(&mut self, bytes: &[u8], sieve: Sieve) -> BytesMut {
        self.buffer.extend_from_slice(bytes);
        let mut kept = BytesMut::new();
        while let Some(length) = value(&self.buffer) {
            let is_message = message(&self.buffer[..length]).is_some();
            if is_message && self.drops(sieve) {
                self.buffer.advance(length);
            } else {
                kept.unsplit(self.buffer.split_to(length));
            }
        }
        kept
    }

    fn drops(&mut self, sieve: Sieve) -> bool {
        match sieve {
            Sieve::Open => {
                self.run = 0;
                false
            }
            Sieve::Singles => self.dice.percent(1),
            Sieve::Runs => {
                if self.run == 0 && self.dice.within(0..100 * u64::from(RUN)) == 0 {
                    self.run = RUN;
                }
                let drops = self.run > 0;
                self.run = self.run.saturating_sub(1);
                drops
            }
            Sieve::Shut => true,
        }
    }
}
