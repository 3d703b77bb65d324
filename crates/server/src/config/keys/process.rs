//! The keys of the process and its machine: the store, threads, the log, the admin socket.

use super::{GIB, MIB, Section, millis, secs};
use crate::config::value::{Key, Value};

pub(super) const STORAGE: Section = Section {
    name: "storage",
    doc: &["Where messages and accounts are kept."],
    keys: &[
        Key {
            name: "directory",
            doc: &["The folder that holds everything this server must not lose."],
            reload: false,
            value: Value::Place {
                default: "data",
                field: |c| &mut c.storage.directory,
            },
        },
        Key {
            name: "free_disk_floor",
            doc: &[
                "With less than this free on the disk, nothing more is stored: senders get an error they can",
                "act on, and what is stored stays whole.",
            ],
            reload: false,
            value: Value::Size {
                default: 256 * MIB,
                min: 16 * MIB,
                max: 1024 * GIB,
                field: |c| &mut c.storage.free_disk_floor,
            },
        },
        Key {
            name: "cache",
            doc: &["Memory for what was read from the disk."],
            reload: false,
            value: Value::Size {
                default: 32 * MIB,
                min: MIB,
                max: 1024 * GIB,
                field: |c| &mut c.storage.cache,
            },
        },
        Key {
            name: "write_buffer",
            doc: &[
                "Memory for what goes to the disk's tables next; up to four of them at once. The store is",
                "made with this and keeps it.",
            ],
            reload: false,
            value: Value::Size {
                default: 16 * MIB,
                min: 4 * MIB,
                max: 4 * GIB,
                field: |c| &mut c.storage.write_buffer,
            },
        },
        Key {
            name: "undurable",
            doc: &["Senders are held back while more than this is on its way to the disk."],
            reload: false,
            value: Value::Size {
                default: 8 * MIB,
                min: MIB,
                max: GIB,
                field: |c| &mut c.storage.undurable,
            },
        },
        Key {
            name: "commit_interval",
            doc: &[
                "The least time between two syncs of the disk under load. Longer ones share a sync between",
                "more messages and let acknowledgements wait longer.",
            ],
            reload: false,
            value: Value::Period {
                default: millis(2),
                min: millis(0),
                max: secs(1),
                field: |c| &mut c.storage.commit_interval,
            },
        },
    ],
};

pub(super) const SERVER: Section = Section {
    name: "server",
    doc: &["The process."],
    keys: &[
        Key {
            name: "threads",
            doc: &["Worker threads; 0 for one on each core."],
            reload: false,
            value: Value::Count {
                default: 0,
                min: 0,
                max: 1_024,
                field: |c| &mut c.server.threads,
            },
        },
        Key {
            name: "drain_timeout",
            doc: &["Time to close all streams properly when the server stops."],
            reload: true,
            value: Value::Period {
                default: secs(10),
                min: secs(0),
                max: secs(600),
                field: |c| &mut c.server.drain_timeout,
            },
        },
    ],
};

pub(super) const LOG: Section = Section {
    name: "log",
    doc: &["The log goes to standard error. It never holds message content or credentials."],
    keys: &[
        Key {
            name: "level",
            doc: &[
                "error, warn, info, debug or trace; or by part of the program, such as \"info,posthaste_gate=debug\".",
            ],
            reload: true,
            value: Value::Text {
                default: "info,fjall=warn,lsm_tree=warn",
                check: crate::log::check_level,
                field: |c| &mut c.log.level,
            },
        },
        Key {
            name: "format",
            doc: &["How a line looks."],
            reload: false,
            value: Value::Choice {
                default: "text",
                of: &["text", "json"],
                field: |c| &mut c.log.format,
            },
        },
    ],
};

pub(super) const ADMIN: Section = Section {
    name: "admin",
    doc: &["The local socket behind `posthaste user`, `status` and `reload`."],
    keys: &[Key {
        name: "socket",
        doc: &["Its path; left out, it is admin.sock in the storage directory."],
        reload: false,
        value: Value::OptionalPlace {
            example: "/run/posthaste/admin.sock",
            field: |c| &mut c.admin.socket,
        },
    }],
};
