//! The embedded engine passes the suite that every engine passes.

use std::sync::Arc;

use posthaste_engine_embedded::{Embedded, EmbeddedOptions};
use posthaste_kv::Kv;
use posthaste_kv::conformance::{Subject, all, model};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }
}

impl Subject for Folder {
    fn open(&mut self) -> Arc<dyn Kv> {
        let options = EmbeddedOptions {
            // Small, so that what is durable also gets flushed and compacted.
            memtable_bytes: 64 * 1024,
            free_disk_floor_bytes: 0,
            ..EmbeddedOptions::default()
        };
        Embedded::open(self.0.path(), options).expect("the store opens")
    }
}

#[tokio::test]
async fn the_embedded_engine_conforms() {
    all(Folder::new).await;
}

#[tokio::test]
async fn the_embedded_engine_does_what_maps_do() {
    for seed in 0..4 {
        model(&mut Folder::new(), seed, 400).await;
    }
}
