//! Payloads of extensions that are worth a type, one file per XEP.

pub mod bits_of_binary;
pub mod caps;
pub mod channel_search;
pub mod client_access;
pub mod commands;
pub mod data_form;
pub mod date_time;
pub mod disco;
pub mod file_metadata;
pub mod groups;
pub mod hats;
pub mod mam;
pub mod moderation;
pub mod muc;
pub mod occupant_id;
pub mod pubsub;
pub mod push;
pub mod reference;
pub mod rsm;
pub mod thumbnails;
pub mod upload;
