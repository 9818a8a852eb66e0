#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod demo;
pub mod latency;
pub mod network;
pub mod testnet;
pub mod world;
