//! Pictures, voice and video over HTTP: what clients upload to (XEP-0363), and where others get it from.
//!
//! [`MediaService`] is an HTTP service on the gate's port. What is known of files is kept by the heart
//! ([`posthaste_im::media`]); the bytes are staged on the local disk while they come and are then moved to the object
//! store ([`store`]): files below the server's directory, or any S3-compatible service.
//!
//! A request's road: `service` finds what is meant, `path` and `site` find the file or the slot; a file comes by `put` or
//! in several pieces by `resume`, both through `intake`, and goes by `get`, with `conditional`, `range` and `kind`. What
//! shows a picture in small is made by [`preview`], whom everybody may see is found by `avatar`, and both go out by
//! `pictures`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod avatar;
mod bounds;
mod conditional;
mod get;
mod headers;
mod holds;
mod intake;
mod kind;
mod path;
mod pictures;
mod places;
pub mod preview;
mod put;
mod range;
mod refusal;
mod resume;
pub mod service;
mod site;
mod stats;
pub mod store;

pub use bounds::Bounds;
pub use service::MediaService;
pub use stats::{Answers, Previewed};
pub use store::{
    Backend, Credentials, S3Settings, Sealed, Settings, Staged, Stats, Store, StoreError, Swept,
};
