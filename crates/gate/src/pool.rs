//! Buffers that connections borrow while bytes are on the move, so that an idle one owns none.
//!
//! Each thread keeps a few; a buffer goes back to the thread it ends on, which is as good as any.

use std::cell::RefCell;
use std::io;
use std::task::Poll;

/// Size of a fresh buffer: one TLS record, and some forty ordinary stanzas.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;

/// Larger buffers are freed instead of kept: they belonged to a rare large stanza.
const KEEP_BYTES: usize = 2 * BUFFER_BYTES;

/// Buffers kept by one thread: 1 to 2 MiB at most.
const KEEP: usize = 64;

/// Size of a buffer for whoever moves much, such as files: four TLS records.
pub(crate) const WIDE_BYTES: usize = 4 * BUFFER_BYTES;

/// Wide buffers kept by one thread: 512 KiB.
const KEEP_WIDE: usize = 8;

/// Unread bytes of which so much is unfinished are moved to memory of their own size.
const WASTE: usize = 2;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static WIDE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for at least [`BUFFER_BYTES`].
pub(crate) fn take() -> Vec<u8> {
    FREE.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
}

/// An empty buffer with room for [`WIDE_BYTES`].
pub(crate) fn take_wide() -> Vec<u8> {
    WIDE.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| Vec::with_capacity(WIDE_BYTES))
}

/// Gives a buffer back; what it holds is forgotten.
pub(crate) fn give(mut buffer: Vec<u8>) {
    let (list, most) = match buffer.capacity() {
        BUFFER_BYTES..=KEEP_BYTES => (&FREE, KEEP),
        WIDE_BYTES => (&WIDE, KEEP_WIDE),
        _ => return,
    };
    buffer.clear();
    list.with_borrow_mut(|free| {
        if free.len() < most {
            free.push(buffer);
        }
    });
}

/// Lets `read` read to the end of `unread`: into a borrowed buffer, which stays if there was nothing
/// unread before.
pub(crate) fn fill(
    unread: &mut Vec<u8>,
    read: impl FnOnce(&mut Vec<u8>) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    let mut buffer = take();
    let done = read(&mut buffer);
    if unread.is_empty() && matches!(done, Poll::Ready(Ok(1..))) {
        give(std::mem::replace(unread, buffer));
    } else {
        unread.extend_from_slice(&buffer);
        give(buffer);
    }
    done
}

/// As [`fill`], for whoever is sent much: with room for [`WIDE_BYTES`] less what is unread.
pub(crate) fn fill_wide(
    unread: &mut Vec<u8>,
    read: impl FnOnce(&mut Vec<u8>) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    let mut buffer = take_wide();
    buffer.extend_from_slice(unread);
    let done = read(&mut buffer);
    if matches!(done, Poll::Ready(Ok(1..))) {
        give(std::mem::replace(unread, buffer));
    } else {
        give(buffer);
    }
    done
}

/// Forgets the first `used` bytes of `unread`, and gives back all memory that the rest does not need.
pub(crate) fn settle(unread: &mut Vec<u8>, used: usize) {
    let waiting = unread.len() - used;
    if waiting == 0 {
        give(std::mem::take(unread));
    } else if unread.capacity() > WASTE * waiting {
        let rest = unread[used..].to_vec();
        give(std::mem::replace(unread, rest));
    } else {
        unread.drain(..used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_large_enough() {
        let mut buffer = take();
        buffer.extend_from_slice(b"secret");
        give(buffer);
        let again = take();
        assert!(again.is_empty());
        assert!(again.capacity() >= BUFFER_BYTES);
    }

    #[test]
    fn the_pool_keeps_neither_huge_nor_small_buffers_nor_too_many() {
        give(Vec::with_capacity(KEEP_BYTES + 1));
        give(Vec::with_capacity(10));
        assert_eq!(FREE.with_borrow(Vec::len), 0);
        (0..2 * KEEP).for_each(|_| give(Vec::with_capacity(BUFFER_BYTES)));
        (0..2 * KEEP).for_each(|_| give(Vec::with_capacity(WIDE_BYTES)));
        assert_eq!(FREE.with_borrow(Vec::len), KEEP);
        assert_eq!(WIDE.with_borrow(Vec::len), KEEP_WIDE);
        assert_eq!(take_wide().capacity(), WIDE_BYTES);
        assert!(take().capacity() <= KEEP_BYTES);
    }
}
