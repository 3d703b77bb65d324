//! The media service over sockets: what comes, what goes, what goes on, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod get;
mod harness;
mod pictures;
mod put;
mod resume;
mod transfers;
