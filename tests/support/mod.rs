//! What several test programs share: the real servers that they start for themselves.
//!
//! Nothing here is part of Fanfare.
#![allow(dead_code)]

pub mod postgres;
pub mod records;
