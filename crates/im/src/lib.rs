//! The heart of Posthaste: what a stanza does once it has been read.
//!
//! Read [`pipeline`] first: it is the ordered list of what happens to a stanza. Then [`walk`] (one stanza's way
//! through one home), [`home`] (where the state of one bare JID lives), [`router`] (bringing a stanza to its home)
//! and [`session`] (the queue towards one client). Extensions are in [`ext`], one file each.
//!
//! There is no socket here, no clock and no randomness: a gate brings stanzas and takes bytes, [`clock`] is injected.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod accounts;
pub mod binding;
pub mod border;
pub mod catch_up;
pub mod clock;
pub mod codec;
pub mod config;
pub mod connection;
pub mod contacts;
pub mod conversations;
pub mod copies;
pub mod devices;
pub mod error;
pub mod ext;
pub mod heard;
pub mod held;
pub mod home;
pub mod housekeeping;
pub mod log;
pub mod media;
pub mod node;
pub mod orders;
pub mod outbox;
pub mod pipeline;
pub mod retention;
pub mod roster;
pub mod router;
pub mod session;
pub mod session_store;
pub mod stats;
pub mod subscription;
pub mod tables;
pub mod walk;
pub mod weight;
