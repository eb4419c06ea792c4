//! Stub.
use crate::channel::NewRecord;
use std::sync::Arc;
pub type Completion = Box<dyn FnOnce(Outcome) + Send>;
pub enum Outcome {
    Stored {
        id: u64,
        epoch: String,
    },
    Known {
        id: u64,
        uid: uuid::Uuid,
        epoch: String,
    },
    Refused(String),
    Abandoned,
}
pub struct Full;
pub struct Writer;
impl Writer {
    pub fn submit(&self, _r: NewRecord, _a: Completion) -> Result<(), Full> {
        Err(Full)
    }
}
