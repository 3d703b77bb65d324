//! The process whose power is cut by `tests/crash`: writes its history into the folder it is
//! given, says what is durable, and opens the store again whenever it has failed.
//!
//! Prints `acked <n>` when the first `n` batches are durable, `failed` when the store has failed
//! and `opened <n>` when it was opened with `n` batches in it.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

#[path = "../tests/crash/history.rs"]
#[allow(dead_code)] // the model in it is the test's side
mod history;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use posthaste_engine_embedded::{Embedded, EmbeddedOptions};
use posthaste_kv::{Kv, KvError, Ticket};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = std::env::args().nth(1).expect("a folder for the store");
    loop {
        let options = EmbeddedOptions {
            memtable_bytes: 256 * 1024,
            free_disk_floor_bytes: 0,
            round_interval: Duration::from_micros(200),
            ..EmbeddedOptions::default()
        };
        match Embedded::open(&folder, options) {
            Ok(kv) => {
                write(&kv).await;
                say("failed", 0);
                // Answers an error, which is what brought us here.
                let _ = kv.close().await;
            }
            Err(error) => eprintln!("opening: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Goes on with the history until the store fails.
async fn write(kv: &Arc<Embedded>) {
    let opened = history::length(&**kv).await;
    say("opened", opened);
    let mut number = opened;
    for round in 0u64.. {
        let burst = 1 + round * 7 % 17;
        let mut last = Ticket::DURABLE;
        for _ in 0..burst {
            kv.line().room().await;
            match kv.commit(history::batch(number + 1)) {
                Ok(ticket) => last = ticket,
                Err(KvError::Failed(_)) => return,
                Err(other) => panic!("{other}"),
            }
            number += 1;
        }
        // Every other burst is left behind, so that rounds differ in size.
        if burst % 2 == 0 {
            if kv.line().wait(last).await.is_err() {
                return;
            }
            say("acked", number);
        }
    }
}

fn say(what: &str, number: u64) {
    println!("{what} {number}");
    std::io::stdout().flush().unwrap();
}
