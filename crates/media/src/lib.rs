//! Pictures, voice and video over HTTP: what clients upload to (XEP-0363), and where others get it from.
//!
//! [`MediaService`] is an HTTP service on the gate's port. What is known of files is kept by the heart
//! ([`posthaste_im::media`]); the bytes are staged on the local disk while they come and are then moved to the object
//! store ([`store`]): files below the server's directory, or any S3-compatible service.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod service;
pub mod store;

pub use service::MediaService;
pub use store::{
    Backend, Credentials, S3Settings, Sealed, Settings, Staged, Stats, Store, StoreError, Swept,
};
