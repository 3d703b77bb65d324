//! Reading: the overlay first, then the tables.

use std::ops::ControlFlow;
use std::sync::PoisonError;

use bytes::Bytes;
use fjall::{Guard, Readable, Slice, Snapshot};
use posthaste_kv::{KvError, Partition, Row, Scan};

use crate::overlay::{Known, Window};
use crate::{Shared, State, Tables, keys};

impl State {
    fn known(&self, stored: &[u8]) -> Known {
        match self.active.get(stored) {
            Known::Unknown => {}
            known => return known,
        }
        match self.writing.as_ref().map(|writing| writing.get(stored)) {
            None | Some(Known::Unknown) => {}
            Some(known) => return known,
        }
        if self.sweeps.iter().any(|sweep| sweep.hides(stored)) {
            return Known::Deleted;
        }
        Known::Unknown
    }

    fn window(&self, from: Slice, to: Slice) -> Window {
        let generations = self.writing.as_deref().into_iter().chain([&self.active]);
        Window::over(from, to, generations, &self.sweeps)
    }

    /// The value under a stored key, wherever it is.
    pub(crate) fn get(&self, tables: &Tables, stored: &[u8]) -> Result<Option<Slice>, KvError> {
        resolve(self.known(stored), tables, stored)
    }
}

impl Tables {
    pub(crate) fn get(&self, stored: &[u8]) -> Result<Option<Slice>, KvError> {
        self.rows.get(stored).map_err(|error| read_error(&error))
    }
}

impl Shared {
    pub(crate) fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let stored = keys::stored(partition, key);
        let found = self.with_tables(|tables| {
            let known = self.lock().known(&stored);
            // What the overlay has forgotten since is in the tables: it forgets only afterwards.
            resolve(known, tables, &stored)
        })?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    pub(crate) fn scan(&self, partition: &Partition, scan: &Scan) -> Result<Vec<Row>, KvError> {
        let from = keys::stored(partition, &scan.from);
        let to = keys::stored_end(partition, &scan.to);
        let rows = self.stored_rows(from, to, scan.reverse, scan.limit)?;
        let prefix = keys::prefix_len(partition);
        Ok(rows
            .into_iter()
            .map(|(key, value)| {
                (
                    Bytes::copy_from_slice(&key[prefix..]),
                    Bytes::copy_from_slice(&value),
                )
            })
            .collect())
    }

    pub(crate) fn partitions(
        &self,
        after: Option<&Partition>,
        limit: usize,
    ) -> Result<Vec<Partition>, KvError> {
        let mut found: Vec<Partition> = Vec::new();
        let mut from = after.map_or_else(|| Slice::from(keys::FIRST_PARTITION), keys::after);
        let end = Slice::from([u8::MAX]);
        while found.len() < limit {
            // UTF-8 has no byte 0xff, so no partition lies beyond `end`.
            let rows = self.stored_rows(from, end.clone(), false, 1)?;
            let Some((key, _)) = rows.first() else {
                break;
            };
            let Some(partition) = keys::partition_of(key) else {
                return Err(KvError::Read("a key of no partition".to_owned()));
            };
            from = keys::after(&partition);
            found.push(partition);
        }
        Ok(found)
    }

    fn stored_rows(
        &self,
        from: Slice,
        to: Slice,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<(Slice, Slice)>, KvError> {
        self.with_tables(|tables| {
            let (window, snapshot) = {
                let state = self.lock();
                // Under one lock: what is not in the snapshot is in the window.
                (state.window(from, to), tables.db.snapshot())
            };
            let mut rows = Merge::new(window, reverse, limit);
            rows.read(tables, &snapshot)
                .map_err(|error| read_error(&error))?;
            Ok(rows.out)
        })
    }

    pub(crate) fn with_tables<T>(
        &self,
        read: impl FnOnce(&Tables) -> Result<T, KvError>,
    ) -> Result<T, KvError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        read(tables.as_ref().ok_or(KvError::Closed)?)
    }
}

fn resolve(known: Known, tables: &Tables, stored: &[u8]) -> Result<Option<Slice>, KvError> {
    match known {
        Known::Value(value) => Ok(Some(value)),
        Known::Deleted => Ok(None),
        Known::Unknown => tables.get(stored),
    }
}

fn read_error(error: &fjall::Error) -> KvError {
    KvError::Read(error.to_string())
}

/// Merges the overlay's rows with those of the tables, the overlay's first.
struct Merge {
    overlay: Vec<(Slice, Option<Slice>)>,
    on_disk: Vec<(Slice, Slice)>,
    reverse: bool,
    limit: usize,
    out: Vec<(Slice, Slice)>,
}

impl Merge {
    /// The window's rows are kept so that the next one is the last of the list.
    fn new(window: Window, reverse: bool, limit: usize) -> Self {
        let mut overlay: Vec<_> = window.rows.into_iter().collect();
        let mut on_disk = window.on_disk;
        if reverse {
            on_disk.reverse();
        } else {
            overlay.reverse();
        }
        Self {
            overlay,
            on_disk,
            reverse,
            limit,
            out: Vec::new(),
        }
    }

    fn read(&mut self, tables: &Tables, snapshot: &Snapshot) -> fjall::Result<()> {
        for (from, to) in std::mem::take(&mut self.on_disk) {
            let rows = snapshot.range(&tables.rows, from..to);
            let flow = if self.reverse {
                self.read_range(rows.rev())?
            } else {
                self.read_range(rows)?
            };
            if flow.is_break() {
                return Ok(());
            }
        }
        while self.out.len() < self.limit && self.take_overlay(|_| true) {}
        Ok(())
    }

    fn read_range(&mut self, rows: impl Iterator<Item = Guard>) -> fjall::Result<ControlFlow<()>> {
        if self.out.len() >= self.limit {
            return Ok(ControlFlow::Break(()));
        }
        for row in rows {
            let (key, value) = row.into_inner()?;
            let reverse = self.reverse;
            while self.out.len() < self.limit
                && self.take_overlay(|next| if reverse { *next > key } else { *next < key })
            {
            }
            if self.out.len() >= self.limit {
                return Ok(ControlFlow::Break(()));
            }
            match self.overlay.last() {
                // The overlay has the newer one and gives it in its turn.
                Some((next, _)) if *next == key => {}
                _ => self.out.push((key, value)),
            }
            if self.out.len() >= self.limit {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes the overlay's next row if `first` says that it comes first.
    fn take_overlay(&mut self, first: impl Fn(&Slice) -> bool) -> bool {
        let Some((key, value)) = self.overlay.pop_if(|(key, _)| first(key)) else {
            return false;
        };
        if let Some(value) = value {
            self.out.push((key, value));
        }
        true
    }
}
