//! The registry that every module's metrics are registered in, and its text form.
//!
//! Labels are bounded: never a topic, never a user.
