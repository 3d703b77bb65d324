//! Payloads of extensions that are worth a type, one file per XEP.

pub mod caps;
pub mod client_access;
pub mod commands;
pub mod data_form;
pub mod date_time;
pub mod disco;
pub mod mam;
pub mod muc;
pub mod pubsub;
pub mod push;
pub mod rsm;
