//! One request at a time works on an upload.
//!
//! A client whose network broke comes again, often before we have noticed that its old connection is dead: whoever
//! comes last with the right to it takes the upload over, and the request before lets go of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthaste_im::media::FileId;
use tokio::sync::{Notify, OwnedMutexGuard};

/// Time for a request to let go: it may be writing to a slow disk.
const LETTING_GO: Duration = Duration::from_secs(10);

/// The uploads that somebody works on.
#[derive(Debug)]
pub(crate) struct Holds {
    patience: Duration,
    held: Mutex<HashMap<FileId, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    working: Arc<tokio::sync::Mutex<()>>,
    /// Tells the last one who came that another has.
    taken_over: Arc<Notify>,
}

/// An upload that only its holder works on.
#[derive(Debug)]
pub(crate) struct Hold {
    holds: Arc<Holds>,
    id: FileId,
    taken_over: Arc<Notify>,
    /// `None` while it waits.
    working: Option<OwnedMutexGuard<()>>,
}

impl Default for Holds {
    fn default() -> Holds {
        Holds {
            patience: LETTING_GO,
            held: Mutex::default(),
        }
    }
}

impl Holds {
    /// Takes an upload, from somebody else if need be. `None`: whoever has it does not let go of it.
    pub(crate) async fn take(self: &Arc<Self>, id: &FileId) -> Option<Hold> {
        let taken_over = Arc::new(Notify::new());
        let working = {
            let mut held = self.lock();
            match held.get_mut(id) {
                Some(entry) => {
                    let before = std::mem::replace(&mut entry.taken_over, taken_over.clone());
                    before.notify_one();
                    entry.working.clone()
                }
                None => {
                    let entry = Entry {
                        working: Arc::default(),
                        taken_over: taken_over.clone(),
                    };
                    held.entry(id.clone()).or_insert(entry).working.clone()
                }
            }
        };
        let mut hold = Hold {
            holds: Arc::clone(self),
            id: id.clone(),
            taken_over,
            working: None,
        };
        let working = tokio::time::timeout(self.patience, working.lock_owned()).await;
        hold.working = Some(working.ok()?);
        Some(hold)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Entry>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Waits until somebody else wants it.
    pub(crate) async fn taken_over(&self) {
        self.taken_over.notified().await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.working.take();
        let mut held = self.holds.lock();
        // Whoever works on it, or waits for it, has the lock too; it is only got under the lock of all.
        let is_idle = held
            .get(&self.id)
            .is_some_and(|entry| Arc::strong_count(&entry.working) == 1);
        if is_idle {
            held.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> FileId {
        FileId::parse("abcdefghijklmnopqrstuvw7").unwrap()
    }

    #[tokio::test]
    async fn who_comes_last_has_it_and_nothing_is_left_behind() {
        let holds = Arc::new(Holds::default());
        let first = holds.take(&id()).await.unwrap();
        let second = {
            let holds = holds.clone();
            tokio::spawn(async move { holds.take(&id()).await.unwrap() })
        };
        first.taken_over().await;
        assert!(!second.is_finished());
        drop(first);
        let second = second.await.unwrap();
        assert_eq!(holds.lock().len(), 1);
        drop(second);
        assert!(holds.lock().is_empty());
    }

    #[tokio::test]
    async fn who_does_not_let_go_keeps_it() {
        let holds = Arc::new(Holds {
            patience: Duration::from_millis(10),
            ..Holds::default()
        });
        let first = holds.take(&id()).await.unwrap();
        assert!(holds.take(&id()).await.is_none());
        drop(first);
        assert!(holds.take(&id()).await.is_some());
        assert!(holds.lock().is_empty());
    }
}
