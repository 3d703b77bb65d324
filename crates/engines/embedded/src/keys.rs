//! How a partition's keys lie in the one ordered key space of the disk.
//!
//! A stored key is the partition's name, a NUL, and the key. Names hold no NUL and are not
//! empty, so partitions lie side by side in the order of their names, and everything that
//! starts with a NUL is the engine's own.

use fjall::Slice;
use posthaste_kv::Partition;
use smallvec::SmallVec;

/// Between a partition's name and a key.
const SEPARATOR: u8 = 0;
/// The first byte after [`SEPARATOR`], so the end of everything that begins with it.
const AFTER_SEPARATOR: u8 = 1;
/// Where the engine's own keys end and the partitions start.
pub(crate) const FIRST_PARTITION: &[u8] = &[AFTER_SEPARATOR];

/// A buffer that keeps nearly every stored key off the heap while it is put together.
type KeyBuffer = SmallVec<[u8; 128]>;

/// The stored form of `key` in `partition`.
pub(crate) fn stored(partition: &Partition, key: &[u8]) -> Slice {
    joined(partition, SEPARATOR, key)
}

/// The end of a range in `partition`; an empty `to` means the partition's end.
pub(crate) fn stored_end(partition: &Partition, to: &[u8]) -> Slice {
    if to.is_empty() {
        after(partition)
    } else {
        stored(partition, to)
    }
}

/// The first stored key that can belong to a later partition than `partition`.
pub(crate) fn after(partition: &Partition) -> Slice {
    joined(partition, AFTER_SEPARATOR, &[])
}

fn joined(partition: &Partition, separator: u8, key: &[u8]) -> Slice {
    let name = partition.as_str().as_bytes();
    let mut buffer = KeyBuffer::with_capacity(name.len() + 1 + key.len());
    buffer.extend_from_slice(name);
    buffer.push(separator);
    buffer.extend_from_slice(key);
    Slice::from(buffer.as_slice())
}

/// How long the part before the key is in every stored key of `partition`.
pub(crate) fn prefix_len(partition: &Partition) -> usize {
    partition.as_str().len() + 1
}

/// The partition a stored key belongs to; `None` for what no partition wrote.
pub(crate) fn partition_of(stored: &[u8]) -> Option<Partition> {
    let end = stored.iter().position(|&byte| byte == SEPARATOR)?;
    let name = std::str::from_utf8(&stored[..end]).ok()?;
    Partition::new(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(name: &str) -> Partition {
        Partition::new(name).unwrap()
    }

    #[test]
    fn partitions_lie_side_by_side_in_the_order_of_their_names() {
        let short = partition("a@b");
        let long = partition("a@b.c");
        assert!(stored(&short, &[0xff; 9]) < after(&short));
        assert!(after(&short) < stored(&long, b""));
        assert_eq!(stored_end(&short, b""), after(&short));
        assert_eq!(partition_of(&stored(&long, b"k\0k")), Some(long));
        assert_eq!(partition_of(b"\0delete"), None);
    }
}
