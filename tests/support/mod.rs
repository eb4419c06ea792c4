//! What several integration tests share.
//!
//! Nothing here is a test.

#![allow(dead_code)]

pub mod redis;
