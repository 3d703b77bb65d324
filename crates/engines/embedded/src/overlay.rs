//! What has been committed but is not yet in the engine's own tables: readers look here first.
//!
//! A [`Generation`] is what arrived between two rounds of the committer. Two of them exist at
//! most: the one that is filled and the one that is being written.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

use fjall::Slice;
use posthaste_kv::{Batch, Op, Ticket};
use smallvec::SmallVec;

use crate::keys;
use crate::sweep::Sweep;

/// The bounds of a range of stored keys: inclusive, exclusive.
pub(crate) type Range = (Slice, Slice);

/// One change with its stored key, made before the lock is taken.
pub(crate) enum Change {
    Put(Slice, Slice),
    Delete(Slice),
    DeleteRange(Slice, Slice),
}

/// The changes of a batch; rarely more than a few.
pub(crate) type Changes = SmallVec<[Change; 4]>;

/// The changes of `batch` in stored form.
pub(crate) fn changes(batch: &Batch) -> Changes {
    let partition = &batch.partition;
    batch
        .ops
        .iter()
        .map(|op| match op {
            Op::Put { key, value } => Change::Put(
                keys::stored(partition, key),
                // A copy of its own: the caller's buffer may be larger than the value.
                Slice::from(value.as_ref()),
            ),
            Op::Delete { key } => Change::Delete(keys::stored(partition, key)),
            Op::DeleteRange { from, to } => Change::DeleteRange(
                keys::stored(partition, from),
                keys::stored_end(partition, to),
            ),
        })
        .collect()
}

/// What the overlay knows of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Value(Slice),
    Deleted,
    /// Only the tables can tell.
    Unknown,
}

/// The changes between two rounds of the committer, the last one of each key.
#[derive(Default)]
pub(crate) struct Generation {
    /// `None` is a deletion.
    map: BTreeMap<Slice, Option<Slice>>,
    /// Ranges deleted before what `map` holds, from start to end, never overlapping.
    ranges: BTreeMap<Slice, Slice>,
    pub(crate) last_ticket: Ticket,
    pub(crate) bytes: u64,
    pub(crate) batches: u64,
    /// When the first batch came.
    pub(crate) since: Option<Instant>,
}

impl Generation {
    pub(crate) fn is_empty(&self) -> bool {
        self.batches == 0
    }

    pub(crate) fn add(&mut self, changes: Changes, ticket: Ticket, bytes: u64) {
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    self.map.insert(key, Some(value));
                }
                Change::Delete(key) => {
                    self.map.insert(key, None);
                }
                Change::DeleteRange(from, to) => self.delete_range(from, to),
            }
        }
        self.last_ticket = ticket;
        self.bytes += bytes;
        self.batches += 1;
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    fn delete_range(&mut self, mut from: Slice, mut to: Slice) {
        if from >= to {
            return;
        }
        let older: Vec<Slice> = self.rows(&from, &to).map(|(key, _)| key.clone()).collect();
        for key in older {
            self.map.remove(&key);
        }
        // Ranges that touch the new one become part of it.
        let touching: Vec<Range> = self
            .ranges
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(&*to)))
            .rev()
            .take_while(|(_, end)| **end >= from)
            .map(|(start, end)| (start.clone(), end.clone()))
            .collect();
        for (start, end) in touching {
            self.ranges.remove(&start);
            from = from.min(start);
            to = to.max(end);
        }
        self.ranges.insert(from, to);
    }

    /// Every changed key in order; `None` is a deletion.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Slice, Option<&Slice>)> {
        self.map.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// The ranges deleted before everything in [`Generation::all`].
    pub(crate) fn deleted_ranges(&self) -> impl Iterator<Item = (&Slice, &Slice)> {
        self.ranges.iter()
    }

    /// Whether `key` is among [`Generation::all`].
    pub(crate) fn changes_key(&self, key: &[u8]) -> bool {
        self.map.contains_key(key)
    }

    /// The changed keys of a range.
    pub(crate) fn rows<'a>(
        &'a self,
        from: &'a [u8],
        to: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = (&'a Slice, Option<&'a Slice>)> {
        self.map
            .range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
            .map(|(key, value)| (key, value.as_ref()))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Known {
        match self.map.get(key) {
            Some(Some(value)) => Known::Value(value.clone()),
            Some(None) => Known::Deleted,
            None if self.deletes(key) => Known::Deleted,
            None => Known::Unknown,
        }
    }

    fn deletes(&self, key: &[u8]) -> bool {
        self.ranges
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()
            .is_some_and(|(_, to)| key < &**to)
    }
}

/// The overlay's part of a scan: copied out, so that the disk is read without the lock.
#[derive(Default)]
pub(crate) struct Window {
    /// The changed keys of the range in order; `None` is a deletion.
    pub(crate) rows: BTreeMap<Slice, Option<Slice>>,
    /// What is left of the range on disk after the deleted ranges, in order.
    pub(crate) on_disk: Vec<Range>,
}

impl Window {
    /// Looks at the range through `generations`, the oldest first, and `sweeps`, which are older
    /// than all of them.
    pub(crate) fn over<'a>(
        from: Slice,
        to: Slice,
        generations: impl Iterator<Item = &'a Generation>,
        sweeps: &[Sweep],
    ) -> Self {
        let mut window = Self::default();
        if from >= to {
            return window;
        }
        let mut gone = Generation::default();
        for generation in generations {
            for (start, end) in &generation.ranges {
                if *start < to && from < *end {
                    window.rows.retain(|key, _| key < start || key >= end);
                    gone.delete_range(start.clone(), end.clone());
                }
            }
            for (key, value) in generation.rows(&from, &to) {
                window.rows.insert(key.clone(), value.cloned());
            }
        }
        let kept = kept_by(sweeps, &from, &to, &gone);
        for sweep in sweeps {
            if sweep.from < to && from < sweep.to {
                gone.delete_range(sweep.from.clone(), sweep.to.clone());
            }
        }
        window.on_disk = between(from, to, gone.ranges);
        if !kept.is_empty() {
            window.on_disk.extend(kept);
            window.on_disk.sort();
        }
        window
    }
}

/// What sweeps spare and no later range has deleted: each key as a range of its own.
fn kept_by(sweeps: &[Sweep], from: &Slice, to: &Slice, gone: &Generation) -> Vec<Range> {
    sweeps
        .iter()
        .flat_map(|sweep| sweep.spared(from, to))
        .filter(|key| !gone.deletes(key))
        .map(|key| (key.clone(), Slice::from([key, &[0][..]].concat())))
        .collect()
}

/// What is left from `from` to `to` without `gone`, which do not overlap.
pub(crate) fn between(from: Slice, to: Slice, gone: BTreeMap<Slice, Slice>) -> Vec<Range> {
    let mut left = Vec::new();
    let mut at = from;
    for (start, end) in gone {
        let start = start.min(to.clone());
        if at < start {
            left.push((at.clone(), start));
        }
        at = at.max(end);
    }
    if at < to {
        left.push((at, to));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn slice(text: &str) -> Slice {
        Slice::from(text)
    }

    fn put(key: &str) -> Change {
        Change::Put(slice(key), slice("v"))
    }

    fn delete_range(from: &str, to: &str) -> Change {
        Change::DeleteRange(slice(from), slice(to))
    }

    fn generation(changes: Vec<Change>) -> Generation {
        let mut generation = Generation::default();
        generation.add(SmallVec::from_vec(changes), Ticket::DURABLE, 1);
        generation
    }

    #[test]
    fn a_range_deletes_what_came_before_and_not_what_comes_after() {
        let it = generation(vec![put("b"), delete_range("a", "d"), put("c")]);
        assert_eq!(it.get(b"b"), Known::Deleted);
        assert_eq!(it.get(b"c"), Known::Value(slice("v")));
        assert_eq!(it.get(b"d"), Known::Unknown);
        assert!(it.changes_key(b"c") && !it.changes_key(b"b"));
    }

    #[test]
    fn a_window_shows_what_a_sweep_spares_unless_it_was_deleted_since() {
        let keep = ["c", "e", "g"].map(slice).into();
        let sweep = Sweep::new(0, slice("b"), slice("h"), keep);
        let newer = generation(vec![delete_range("d", "f"), put("b")]);
        let window = Window::over(slice("a"), slice("z"), [&newer].into_iter(), &[sweep]);
        let point = |key: &str| (slice(key), slice(&format!("{key}\0")));
        let expected = [
            (slice("a"), slice("b")),
            point("c"),
            point("g"),
            (slice("h"), slice("z")),
        ];
        assert_eq!(window.on_disk, expected);
        assert_eq!(window.rows.len(), 1);
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let it = generation(vec![
            delete_range("a", "c"),
            delete_range("e", "g"),
            delete_range("x", "z"),
            delete_range("b", "e"),
            delete_range("m", "k"),
        ]);
        let ranges: Vec<_> = it.deleted_ranges().collect();
        assert_eq!(
            ranges,
            [(&slice("a"), &slice("g")), (&slice("x"), &slice("z"))]
        );
    }

    #[test]
    fn a_window_shows_the_newest_and_leaves_out_deleted_ranges_on_disk() {
        let older = generation(vec![put("b"), put("p"), delete_range("x", "y")]);
        let mut newer = generation(vec![delete_range("a", "c"), put("bb")]);
        newer.add(smallvec![Change::Delete(slice("p"))], Ticket::DURABLE, 1);
        let window = Window::over(slice("a"), slice("z"), [&older, &newer].into_iter(), &[]);
        let rows: Vec<_> = window.rows.into_iter().collect();
        assert_eq!(rows, [(slice("bb"), Some(slice("v"))), (slice("p"), None)]);
        assert_eq!(
            window.on_disk,
            [(slice("c"), slice("x")), (slice("y"), slice("z"))]
        );
    }
}
