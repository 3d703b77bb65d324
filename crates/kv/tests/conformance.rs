//! The in-memory engine passes the suite it is the reference for.

use std::sync::Arc;

use posthaste_kv::Kv;
use posthaste_kv::conformance::{Subject, all, model};
use posthaste_kv::fault::Faulty;
use posthaste_kv::memory::MemoryKv;

/// Opens what the store before it would leave on a disk.
#[derive(Default)]
struct Memory(Option<Arc<MemoryKv>>);

impl Subject for Memory {
    fn open(&mut self) -> Arc<dyn Kv> {
        let before = self.0.take().unwrap_or_default();
        let kv = Arc::new(before.after_power_cut());
        self.0 = Some(kv.clone());
        kv
    }
}

#[tokio::test]
async fn the_memory_engine_conforms() {
    all(Memory::default).await;
}

#[tokio::test]
async fn the_memory_engine_does_what_maps_do() {
    for seed in 0..20 {
        model(&mut Memory::default(), seed, 500).await;
    }
}

/// The same with faults in front, none of which happen.
#[derive(Default)]
struct WithFaults(Memory);

impl Subject for WithFaults {
    fn open(&mut self) -> Arc<dyn Kv> {
        Arc::new(Faulty::over(self.0.open()))
    }
}

#[tokio::test]
async fn faults_that_do_not_happen_change_nothing() {
    all(WithFaults::default).await;
}
