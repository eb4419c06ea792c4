//! What the tests from outside share: real nodes, wire clients, stock clients and a browser.
//!
//! It never mocks the server: whatever it starts, it starts for real and on free ports.

#![allow(dead_code)]

pub mod chromium;
pub mod cluster;
pub mod disk;
pub mod http;
pub mod https;
pub mod journey;
pub mod key_server;
pub mod limited;
pub mod longpoll;
pub mod metrics;
pub mod node;
pub mod npm;
pub mod paused;
pub mod phoenix;
pub mod port;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod records;
pub mod redis;
pub mod scene;
pub mod signer;
pub mod token;
pub mod ws;
