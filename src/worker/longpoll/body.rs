//! The body of a POST while it is read and at hand, counted against what the worker may hold.
//!
//! It never looks into it.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::transport::longpoll::BODY_BYTES_MAX;

/// Bytes of all bodies at hand on a worker. Then: 503.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that are read of a body that is too large, so that the client hears of it.
const READ_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// Why a body was not read.
pub(super) enum Unread {
    /// It is above [`BODY_BYTES_MAX`].
    TooLarge,
    /// The client went away.
    Broken,
    /// The worker holds [`BODIES_BYTES_MAX`].
    Full,
}

/// A body at hand, counted while it is.
pub(super) struct Held<'a> {
    all: &'a Cell<usize>,
    bytes: usize,
    /// Whether it is kept; one that nobody will take is read and forgotten, so that the answer arrives.
    kept: bool,
}

impl<'a> Held<'a> {
    pub(super) fn new(all: &'a Cell<usize>, kept: bool) -> Self {
        Self {
            all,
            bytes: 0,
            kept,
        }
    }

    /// Reads a body to its end, also one that is too large or not kept: the client reads the answer
    /// only then.
    pub(super) async fn read(&mut self, mut body: Incoming) -> Result<Bytes, Unread> {
        let (mut whole, mut bytes) = (BytesMut::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(chunk) = frame.map_err(|_| Unread::Broken)?.into_data() else {
                continue;
            };
            bytes += chunk.len();
            if bytes > READ_BYTES_MAX {
                return Err(Unread::TooLarge);
            }
            if bytes > BODY_BYTES_MAX {
                self.forget();
                whole = BytesMut::new();
            } else if self.kept {
                self.count(chunk.len())?;
                whole.extend_from_slice(&chunk);
            }
        }
        match bytes > BODY_BYTES_MAX {
            true => Err(Unread::TooLarge),
            false => Ok(whole.freeze()),
        }
    }

    fn forget(&mut self) {
        self.all.set(self.all.get() - self.bytes);
        self.bytes = 0;
    }

    fn count(&mut self, bytes: usize) -> Result<(), Unread> {
        if self.all.get() + bytes > BODIES_BYTES_MAX {
            return Err(Unread::Full);
        }
        self.all.set(self.all.get() + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}
