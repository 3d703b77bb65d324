//! How stored values are written: a version byte, then fields in order, numbers big-endian, texts with their
//! length before them. Reading never panics: bytes that do not fit are [`Corrupt`].

use bytes::{BufMut, Bytes, BytesMut};
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xml::{Limits, StreamContext};
use thiserror::Error;

/// A stored value that this version of the server cannot read.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("a stored {what} cannot be read: {why}")]
pub struct Corrupt {
    /// What was being read, for the log.
    pub what: &'static str,
    /// What did not fit.
    pub why: &'static str,
}

/// Reads a stanza that was stored or queued here, and so was valid once.
///
/// # Errors
/// The bytes are no stanza any more.
pub fn stanza(xml: &[u8]) -> Result<Stanza, Corrupt> {
    let corrupt = |_| Corrupt {
        what: "stanza",
        why: "it is no stanza",
    };
    // It passed the limits when it came, and may have grown since by what we add.
    Stanza::parse(xml, &Limits::NONE, &StreamContext::client()).map_err(corrupt)
}

/// Writes one stored value.
pub struct Writer(BytesMut);

impl Writer {
    /// Starts a value of the given version with room for about `capacity` bytes.
    pub fn new(version: u8, capacity: usize) -> Writer {
        let mut bytes = BytesMut::with_capacity(capacity + 1);
        bytes.put_u8(version);
        Writer(bytes)
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.put_u8(value);
        self
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.put_u32(value);
        self
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.put_u64(value);
        self
    }

    /// Bytes with their length (at most 4 GiB, far above any stanza limit) before them.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0
            .put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.0.put_slice(value);
        self
    }

    /// A text, as bytes.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// Bytes without a length: the last field of a value.
    pub fn rest(&mut self, value: &[u8]) -> &mut Self {
        self.0.put_slice(value);
        self
    }

    /// The finished value.
    pub fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// Reads one stored value.
pub struct Reader {
    what: &'static str,
    left: Bytes,
}

impl Reader {
    /// Opens a value and takes its version byte; a version above `newest` is refused.
    pub fn open(what: &'static str, value: Bytes, newest: u8) -> Result<(u8, Reader), Corrupt> {
        let mut reader = Reader { what, left: value };
        let version = reader.u8()?;
        if version == 0 || version > newest {
            return Err(reader.corrupt("its version is not known here"));
        }
        Ok((version, reader))
    }

    /// The error for a field that does not fit.
    pub fn corrupt(&self, why: &'static str) -> Corrupt {
        Corrupt {
            what: self.what,
            why,
        }
    }

    fn take(&mut self, count: usize) -> Result<Bytes, Corrupt> {
        if self.left.len() < count {
            return Err(self.corrupt("it is too short"));
        }
        Ok(self.left.split_to(count))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let mut array = [0; N];
        array.copy_from_slice(&self.take(N)?);
        Ok(array)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Corrupt> {
        Ok(self.array::<1>()?[0])
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Corrupt> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Corrupt> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Bytes with their length before them, shared with the value.
    pub fn bytes(&mut self) -> Result<Bytes, Corrupt> {
        let count = self.u32()?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// A text.
    pub fn text(&mut self) -> Result<String, Corrupt> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.into()).map_err(|_| self.corrupt("a text in it is not UTF-8"))
    }

    /// Is nothing left?
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// All that is left.
    pub fn rest(self) -> Bytes {
        self.left
    }

    /// A list's length, refused above `most`, so that a damaged value cannot ask for all the memory.
    pub fn count(&mut self, most: u32) -> Result<u32, Corrupt> {
        let count = self.u32()?;
        if count > most {
            Err(self.corrupt("a list in it is too long"))
        } else {
            Ok(count)
        }
    }

    /// Says that nothing may be left.
    pub fn end(self) -> Result<(), Corrupt> {
        if self.left.is_empty() {
            Ok(())
        } else {
            Err(self.corrupt("it is too long"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::new(1, 16);
        writer.u8(7).u32(8).u64(9).text("zehn").rest(b"elf");
        let (version, mut reader) = Reader::open("test", writer.finish(), 1).unwrap();
        assert_eq!(
            (version, reader.u8(), reader.u32(), reader.u64()),
            (1, Ok(7), Ok(8), Ok(9))
        );
        assert_eq!(reader.text().unwrap(), "zehn");
        assert_eq!(&reader.rest()[..], b"elf");
    }

    #[test]
    fn damaged_values_are_refused_and_never_panic() {
        assert!(Reader::open("test", Bytes::new(), 1).is_err());
        assert!(Reader::open("test", Bytes::from_static(&[2]), 1).is_err());
        let (_, mut short) =
            Reader::open("test", Bytes::from_static(&[1, 255, 255, 255, 255, 1]), 1).unwrap();
        assert!(short.bytes().is_err());
        let (_, mut long) = Reader::open("test", Bytes::from_static(&[1, 0, 0, 1, 0]), 1).unwrap();
        assert!(long.count(255).is_err());
    }
}
