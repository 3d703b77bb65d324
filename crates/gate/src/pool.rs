//! Buffers that connections borrow while bytes are on the move, so that an idle one owns none.
//!
//! Each thread keeps a few; a buffer goes back to the thread it ends on, which is as good as any.

use std::cell::RefCell;
use std::io;
use std::task::Poll;

/// Size of a fresh buffer: one TLS record, and some forty ordinary stanzas.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;

/// Larger buffers are freed instead of kept: they belonged to a rare large stanza.
const KEEP_BYTES: usize = 4 * BUFFER_BYTES;

/// Buffers kept by one thread: 1 to 4 MiB at most.
const KEEP: usize = 64;

/// Unread bytes of which so much is unfinished are moved to memory of their own size.
const WASTE: usize = 2;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for at least [`BUFFER_BYTES`].
pub(crate) fn take() -> Vec<u8> {
    FREE.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
}

/// Gives a buffer back; what it holds is forgotten.
pub(crate) fn give(mut buffer: Vec<u8>) {
    if !(BUFFER_BYTES..=KEEP_BYTES).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    FREE.with_borrow_mut(|free| {
        if free.len() < KEEP {
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
        assert_eq!(FREE.with_borrow(Vec::len), KEEP);
    }
}
