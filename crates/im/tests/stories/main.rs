//! What the heart does for its users, told as stories: Romeo sends, Juliet receives. One binary, since linking a test
//! takes longer than running it.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod harness;

mod administration;
mod archive;
mod archive_elsewhere;
mod blocking;
mod border;
mod caps;
mod carbons;
mod client_access;
mod client_state;
mod crowded_rooms;
mod delivery;
mod devices;
mod devices_simulated;
mod external_services;
mod group_cursors;
mod group_rooms;
mod groups;
mod groups_simulated;
mod inbox;
mod media;
mod media_delivered;
mod media_previews;
mod media_simulated;
mod media_usage;
mod pep;
mod presence;
mod privacy_lists;
mod profile;
mod pubsub_service;
mod push;
mod registration;
mod retraction;
mod rooms;
mod rooms_admin;
mod rooms_archive;
mod rooms_config;
mod rooms_hats;
mod rooms_limits;
mod rooms_moderation;
mod rooms_search;
mod rooms_spoofing;
mod roster;
mod services;
