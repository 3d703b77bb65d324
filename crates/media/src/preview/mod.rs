//! What a picture looks like in small, for whoever has not fetched it yet.
//!
//! The steps of one preview: its beginning is read and tells whether it is a picture at all (whatever its name and media
//! type say); a place to work is waited for; the whole is read; its header says how much memory it takes, which is
//! waited for; it is decoded, turned the right way round and made small ([`paint`]) on a thread that may block; what came
//! of it is kept with the file. Each file is looked at once, also when many ask at the same time, and one of which nothing
//! came is not looked at again.
//!
//! Decoders read what strangers wrote. Pixels, memory, time, threads and queue are bounded ([`Bounds`]); a decoder that
//! panics or takes too long costs its own picture and nothing else.

mod paint;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
mod web;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt, StreamExt};
use posthaste_im::media::{
    self, File, FileId, LedgerError, Order, Painter, Picture, PictureKind, Preview,
};
use posthaste_im::node::Node;
use posthaste_proto::error::StanzaError;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::stats::Previewed;
use crate::store::{Content, Store, StoreError};
use paint::Refusal;

pub(crate) use web::get;

/// What one picture, and all of them together, may take.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Bytes of a file that is looked at: it is in memory whole. The largest photos of phones.
    pub file_bytes: u64,
    /// Pixels of one picture: what a good camera makes.
    pub pixels: u64,
    /// Pixels of its longer side: a panorama.
    pub side: u32,
    /// Bytes of memory that all decoders take together.
    pub memory: u64,
    /// Pictures that are decoded at the same time: messages need the other cores.
    pub at_once: usize,
    /// Pictures that are decoded or wait for it; whoever asks for more is told to come again.
    pub waiting: usize,
    /// Stanzas that wait for their answer.
    pub orders: usize,
    /// How long reading one from the store may take, and how long decoding it.
    pub time: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            file_bytes: 32 << 20,
            pixels: 64_000_000,
            side: 32_768,
            memory: 256 << 20,
            at_once: 2,
            waiting: 64,
            // Several may wait for one picture.
            orders: 512,
            time: Duration::from_secs(10),
        }
    }
}

/// Memory is given out in pieces of this size.
const PIECE: u64 = 1 << 20;

/// Why there is no preview now.
#[derive(Clone, Debug, Error)]
pub enum PreviewError {
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// Too many pictures wait to be looked at.
    #[error("too many pictures wait to be looked at")]
    Busy,
    /// The rows or the bytes could not be read in time.
    #[error("the file could not be read: {0}")]
    Store(Arc<str>),
}

impl From<LedgerError> for PreviewError {
    fn from(error: LedgerError) -> PreviewError {
        match error {
            LedgerError::NotFound => PreviewError::NotFound,
            other => PreviewError::Store(other.to_string().into()),
        }
    }
}

impl From<StoreError> for PreviewError {
    fn from(error: StoreError) -> PreviewError {
        match error {
            // It was removed a moment ago.
            StoreError::NotFound => PreviewError::NotFound,
            other => PreviewError::Store(other.to_string().into()),
        }
    }
}

type Outcome = Result<Preview, PreviewError>;
type Making = Shared<BoxFuture<'static, Outcome>>;

/// Looks at pictures. Cheap to clone.
#[derive(Clone)]
pub struct Previews(Arc<Shop>);

struct Shop {
    /// The node holds us.
    node: Weak<Node>,
    store: Arc<Store>,
    bounds: Bounds,
    at_work: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    /// Places for stanzas that wait for their answer.
    orders: Arc<Semaphore>,
    stats: Previewed,
    /// What is being looked at, so that whoever asks for the same waits for the same.
    making: Mutex<HashMap<FileId, Making>>,
}

impl std::fmt::Debug for Previews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Previews").field(&self.0.bounds).finish()
    }
}

impl Previews {
    /// Previews of this node's files, whose bytes are in this store.
    pub fn new(node: &Arc<Node>, store: Arc<Store>, bounds: Bounds) -> Previews {
        let pieces =
            usize::try_from(bounds.memory.div_ceil(PIECE)).unwrap_or(Semaphore::MAX_PERMITS);
        Previews(Arc::new(Shop {
            node: Arc::downgrade(node),
            store,
            at_work: Arc::new(Semaphore::new(bounds.at_once)),
            memory: Arc::new(Semaphore::new(pieces.min(Semaphore::MAX_PERMITS))),
            orders: Arc::new(Semaphore::new(bounds.orders)),
            stats: Previewed::default(),
            making: Mutex::default(),
            bounds,
        }))
    }

    /// What has been looked at.
    pub fn stats(&self) -> &Previewed {
        &self.0.stats
    }

    /// What there is to see of a file, from what is kept or by looking at it.
    ///
    /// # Errors
    /// There is no such file, too much to do, or the store does not answer.
    pub async fn of(&self, id: &FileId) -> Outcome {
        let node = self.0.node()?;
        if let Some(preview) = media::preview(&node, id).await? {
            return Ok(preview);
        }
        let file = media::file(&node, id).await?;
        let file = file.ok_or(PreviewError::NotFound)?;
        self.making(id, file)?.await
    }

    /// What makes it, already under way. Not by whoever asked: they may go, and others wait for the same.
    fn making(&self, id: &FileId, file: File) -> Result<Making, PreviewError> {
        let mut making = self.0.making();
        if let Some(made) = making.get(id) {
            return Ok(made.clone());
        }
        if making.len() >= self.0.bounds.waiting {
            self.0.stats.busy.fetch_add(1, Ordering::Relaxed);
            return Err(PreviewError::Busy);
        }
        let under_way = UnderWay(self.0.clone(), id.clone());
        let task = tokio::spawn(async move { under_way.0.make(&under_way.1, &file).await });
        let made = async {
            task.await
                .unwrap_or_else(|error| Err(PreviewError::Store(error.to_string().into())))
        };
        let made = made.boxed().shared();
        making.insert(id.clone(), made.clone());
        Ok(made)
    }
}

/// A preview that is being made, until it is, or until that was given up.
struct UnderWay(Arc<Shop>, FileId);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.making().remove(&self.1);
    }
}

impl Shop {
    fn node(&self) -> Result<Arc<Node>, PreviewError> {
        let node = self.node.upgrade();
        node.ok_or_else(|| PreviewError::Store("the server stops".into()))
    }

    fn making(&self) -> std::sync::MutexGuard<'_, HashMap<FileId, Making>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self, id: &FileId, file: &File) -> Outcome {
        // Whoever looked at it a moment ago may have been done before we came.
        if let Some(preview) = media::preview(&*self.node()?, id).await? {
            return Ok(preview);
        }
        let begun = Instant::now();
        let looked = self.look(file).await;
        self.stats.took(begun.elapsed());
        let counter = match &looked {
            Ok(Ok(_)) => &self.stats.made,
            Ok(Err(_)) => &self.stats.nothing,
            Err(_) => &self.stats.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let preview = match looked? {
            Ok(picture) => Preview::Picture(Arc::new(picture)),
            Err(refusal) => {
                tracing::debug!(%refusal, "no preview could be made of a file");
                Preview::Nothing
            }
        };
        media::keep_preview(&*self.node()?, id, &preview).await?;
        Ok(preview)
    }

    /// The outer error is for now, the inner one for good.
    async fn look(&self, file: &File) -> Result<Result<Picture, Refusal>, PreviewError> {
        let head = file.size.min(PictureKind::SNIFFED as u64);
        let head = self.read(self.store.read(&file.object, 0..head));
        let Some(kind) = PictureKind::sniff(&head.await?) else {
            return Ok(Err(Refusal::Broken("it is no picture".to_owned())));
        };
        if file.size > self.bounds.file_bytes {
            return Ok(Err(Refusal::TooLarge));
        }
        let place = self.at_work.clone().acquire_owned().await;
        let whole = self.store.read_whole(&file.object, file.size, &file.digest);
        let bytes = self.read(whole).await?;
        let (header, bounds) = (bytes.clone(), self.bounds.clone());
        let cost = match on_thread(move || paint::cost(kind, &header, &bounds)).await {
            Ok(cost) => cost,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let pieces = u32::try_from(cost.div_ceil(PIECE)).unwrap_or(u32::MAX);
        let memory = self.memory.clone().acquire_many_owned(pieces).await;
        let bounds = self.bounds.clone();
        let painted = on_thread(move || {
            let painted = paint::paint(kind, &bytes, &bounds);
            // Not before: a decoder that nobody waits for any more is still at work.
            drop((bytes, memory, place));
            painted
        });
        let patience = 2 * self.bounds.time;
        let painted = tokio::time::timeout(patience, painted).await;
        Ok(painted.unwrap_or(Err(Refusal::TooSlow)))
    }

    async fn read(
        &self,
        content: impl Future<Output = Result<Content, StoreError>>,
    ) -> Result<Bytes, PreviewError> {
        let whole = async {
            let mut bytes = BytesMut::new();
            let mut parts = content.await?;
            while let Some(part) = parts.next().await {
                bytes.extend_from_slice(&part?);
            }
            Ok::<_, StoreError>(bytes.freeze())
        };
        match tokio::time::timeout(self.bounds.time, whole).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(PreviewError::Store("it took too long".into())),
        }
    }
}

/// Runs a decoder where it may block. One that panics has not been able to read the picture.
async fn on_thread<T: Send + 'static>(
    decode: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(decode).await;
    done.unwrap_or_else(|error| Err(Refusal::Broken(error.to_string())))
}

impl Painter for Previews {
    fn take(&self, order: Order) -> Result<(), Box<(Order, StanzaError)>> {
        let Ok(node) = self.0.node() else {
            return Err(Box::new((order, StanzaError::service_unavailable())));
        };
        // Orders that wait for a place are as many as pictures that do: each holds its request.
        let Ok(turn) = self.0.orders.clone().try_acquire_owned() else {
            return Err(Box::new((order, busy())));
        };
        let previews = self.clone();
        tokio::spawn(async move {
            let outcome = previews.of(&order.file).await.map_err(refusal);
            node.previewed(order, outcome).await;
            drop(turn);
        });
        Ok(())
    }
}

fn busy() -> StanzaError {
    StanzaError::resource_constraint().with_text("too many pictures wait to be looked at")
}

/// What a client is told.
fn refusal(error: PreviewError) -> StanzaError {
    match error {
        PreviewError::NotFound => StanzaError::item_not_found(),
        PreviewError::Busy => busy(),
        PreviewError::Store(error) => {
            tracing::warn!(%error, "a file could not be read for its preview");
            StanzaError::internal_server_error()
        }
    }
}
