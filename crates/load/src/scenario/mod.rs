//! What can be measured, one file each.

pub(crate) mod chat;
pub(crate) mod idle;
pub(crate) mod login;
pub(crate) mod media;
pub(crate) mod offline;
pub(crate) mod register;
pub(crate) mod rooms;
