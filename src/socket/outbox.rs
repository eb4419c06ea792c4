//! What waits to be written to one client, as shared frames.
//!
//! It never copies a frame, and holds no memory while it is empty.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// The most slices that one vectored write takes.
pub const SLICES_MAX: usize = 64;

/// Room for frames behind the first, made when there is a second.
const GATHERED: usize = 8;

/// The outbox is full: the client reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxFull;

/// Frames in order, bounded by bytes.
#[derive(Debug)]
pub struct Outbox {
    /// Most often one frame waits: it costs no allocation.
    first: Option<Bytes>,
    /// The frames behind the first, while there are any.
    rest: VecDeque<Bytes>,
    bytes: usize,
    bytes_max: usize,
    /// Bytes of the one large frame that waits on top of the limit.
    large: usize,
    /// Whether the first frame was written in part.
    cut: bool,
}

impl Outbox {
    /// Starts empty; it holds at most `bytes_max` (`limits.outbox_bytes`).
    pub fn new(bytes_max: usize) -> Self {
        Self {
            first: None,
            rest: VecDeque::new(),
            bytes: 0,
            bytes_max,
            large: 0,
            cut: false,
        }
    }

    /// Appends a frame. An empty outbox takes a frame of any size.
    ///
    /// One frame of more than half the limit, such as the `presence_state` of a crowd, may wait on top of it:
    /// a client is slow by what it leaves unread, not by what it was given at once.
    ///
    /// # Errors
    /// [`OutboxFull`] when the bytes that wait would exceed the limit.
    #[inline]
    pub fn push(&mut self, frame: Bytes) -> Result<(), OutboxFull> {
        let bytes = self.bytes + frame.len();
        if bytes > self.bytes_max + self.large {
            let is_large = frame.len() > self.bytes_max / 2;
            if self.large > 0 || !is_large {
                return Err(OutboxFull);
            }
            self.large = frame.len();
        }
        self.append(frame);
        Ok(())
    }

    #[inline]
    fn append(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        match &self.first {
            None => self.first = Some(frame),
            Some(_) => {
                if self.rest.is_empty() {
                    // Where a second gathers, there are more to come.
                    self.rest.reserve(GATHERED);
                }
                self.rest.push_back(frame);
            }
        }
    }

    /// Returns the bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Says whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Returns the frame that is next, or what is left of it.
    pub fn first(&self) -> Option<&Bytes> {
        self.first.as_ref()
    }

    /// Says whether more than one frame waits.
    pub fn has_more(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Points `slices` at the first frames; returns how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let mut filled = 0;
        let frames = self.first.iter().chain(&self.rest);
        for (slice, frame) in slices.iter_mut().zip(frames) {
            *slice = IoSlice::new(frame);
            filled += 1;
        }
        filled
    }

    /// Takes `written` bytes off the front.
    pub fn advance(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        self.cut &= written == 0;
        while let Some(first) = &mut self.first {
            if written < first.len() {
                first.advance(written);
                self.cut |= written > 0;
                return;
            }
            written -= first.len();
            self.first = self.rest.pop_front();
        }
        self.large = 0;
        self.rest = VecDeque::new();
    }

    /// Takes every frame that waits, for a transport that hands them over at once.
    pub fn take(&mut self) -> VecDeque<Bytes> {
        self.bytes = 0;
        self.cut = false;
        let mut frames = std::mem::take(&mut self.rest);
        if let Some(first) = self.first.take() {
            frames.push_front(first);
        }
        frames
    }

    /// Throws away what waits, but for the rest of a frame that was written in part.
    pub fn clear_unsent(&mut self) {
        self.rest = VecDeque::new();
        if !self.cut {
            self.first = None;
        }
        self.bytes = self.first.as_ref().map_or(0, Bytes::len);
        self.large = 0;
    }

    /// Appends a frame whatever the bytes that wait: the last word of a connection.
    pub fn push_last(&mut self, frame: Bytes) {
        self.append(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(frames: &[&'static str]) -> Outbox {
        let mut outbox = Outbox::new(10);
        for frame in frames {
            outbox.push(Bytes::from_static(frame.as_bytes())).unwrap();
        }
        outbox
    }

    #[test]
    fn partial_writes_keep_their_place() {
        let mut outbox = outbox(&["abc", "de", "f"]);
        outbox.advance(4);
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        assert_eq!(outbox.slices(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"e"[..], &b"f"[..]));
        assert_eq!(outbox.bytes(), 2);
        outbox.advance(2);
        assert!(outbox.is_empty());
    }

    #[test]
    fn clearing_keeps_the_rest_of_a_cut_frame() {
        let mut whole = outbox(&["abc", "de"]);
        whole.clear_unsent();
        assert!(whole.is_empty());
        let mut cut = outbox(&["abc", "de"]);
        cut.advance(1);
        cut.clear_unsent();
        assert_eq!(cut.bytes(), 2);
        cut.advance(2);
        assert!(cut.is_empty());
    }

    #[test]
    fn what_is_taken_makes_room() {
        let mut full = outbox(&["01234", "56789"]);
        assert_eq!(full.take(), ["01234", "56789"]);
        assert_eq!((full.bytes(), full.is_empty()), (0, true));
        assert_eq!(full.push(Bytes::from_static(b"0123456789")), Ok(()));
    }

    #[test]
    fn the_bound_is_in_bytes_but_one_frame_always_fits() {
        let mut full = outbox(&["0123456789"]);
        assert_eq!(full.push(Bytes::from_static(b"x")), Err(OutboxFull));
        let mut empty = outbox(&[]);
        assert_eq!(empty.push(Bytes::from_static(b"0123456789ab")), Ok(()));
    }

    #[test]
    fn one_large_frame_waits_on_top_of_the_bound_and_makes_nobody_slow() {
        let mut crowd = outbox(&["reply"]);
        assert_eq!(crowd.push(Bytes::from_static(&[b's'; 40])), Ok(()));
        assert_eq!(crowd.push(Bytes::from_static(b"diff")), Ok(()));
        assert_eq!(crowd.push(Bytes::from_static(b"diff")), Err(OutboxFull));
        assert_eq!(crowd.push(Bytes::from_static(&[b's'; 40])), Err(OutboxFull));
        crowd.advance(49);
        assert!(crowd.is_empty());
        assert_eq!(crowd.push(Bytes::from_static(b"0123456789")), Ok(()));
        assert_eq!(crowd.push(Bytes::from_static(b"x")), Err(OutboxFull));
    }
}
