//! Many accounts doing the same thing at a bounded concurrency.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::login::{Client, Wishes, log_in};
use crate::target::Target;

/// Runs `deed` for every index, at most `concurrency` at a time, and gathers the results in no particular order.
///
/// The first error ends the whole.
pub(crate) async fn for_each<T, F, D>(
    indexes: Range<usize>,
    concurrency: usize,
    deed: D,
) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
    D: Fn(usize) -> F + Clone + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(indexes.start));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency.min(indexes.len()).max(1) {
        let (next, deed, end) = (next.clone(), deed.clone(), indexes.end);
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= end {
                    return anyhow::Ok(done);
                }
                done.push(deed(index).await?);
            }
        });
    }
    let mut all = Vec::with_capacity(indexes.len());
    while let Some(worker) = workers.join_next().await {
        all.append(&mut worker??);
    }
    Ok(all)
}

/// Logs these accounts in.
pub(crate) async fn log_in_all(
    target: &Arc<Target>,
    indexes: Range<usize>,
    concurrency: usize,
    wishes: Wishes,
) -> anyhow::Result<Vec<(usize, Client)>> {
    let target = target.clone();
    for_each(indexes, concurrency, move |index| {
        let target = target.clone();
        async move { Ok((index, log_in(&target, index, wishes).await?)) }
    })
    .await
}

/// Logs everybody out politely.
pub(crate) async fn log_out_all(clients: Vec<Client>) {
    let mut leaving = JoinSet::new();
    for client in clients {
        leaving.spawn(client.connection.close());
    }
    leaving.join_all().await;
}
