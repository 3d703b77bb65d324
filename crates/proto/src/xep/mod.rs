//! Payloads of extensions that are worth a type, one file per XEP.

pub mod caps;
pub mod commands;
pub mod data_form;
pub mod disco;
pub mod pubsub;
pub mod push;
pub mod rsm;
