//! Long-poll without I/O: session tokens, the parts of a request, batches, and answers.
//!
//! It keeps no session; the worker does.

mod answer;
mod batch;
mod request;
mod token;

pub use answer::{
    Messages, Status, bad_request, messages, objects, overloaded, preflight, status, with_token,
};
pub use batch::{BASE64_CHARS_MAX, BODY_BYTES_MAX, Batch, LINES_MAX, Line, is_ndjson};
pub use request::{Asking, open};
pub use token::{MAX_AGE_S, Session, Token, TokenKey};
