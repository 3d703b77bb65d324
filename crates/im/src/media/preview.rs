//! What a picture looks like in small: made once by whoever has the bytes ([`Painter`]), and kept with the file.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_kv::Batch;
use posthaste_proto::error::StanzaError;
use posthaste_proto::stanza::Stanza;

use super::{FileId, LedgerError, file};
use crate::codec::{Corrupt, Reader, Writer};
use crate::node::Node;
use crate::tables;

const VERSION: u8 = 1;
/// Bytes of the larger form, so that it lies in a row and goes with the file.
pub const MOST_THUMBNAIL_BYTES: usize = 64 * 1024;
/// Bytes of the tiny form: as base64 beside the text of a message it still is a small message.
pub const MOST_TINY_BYTES: usize = 1_536;

/// The kinds of pictures that are shown in small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// JPEG.
    Jpeg,
    /// PNG, animated or not.
    Png,
    /// GIF, animated or not.
    Gif,
    /// WebP, animated or not.
    WebP,
}

impl PictureKind {
    /// Bytes at the beginning of a file that are enough to know it.
    pub const SNIFFED: usize = 12;

    /// What a file really is, whatever its name and media type say. `None` for all else, encrypted files above all.
    pub fn sniff(head: &[u8]) -> Option<PictureKind> {
        match head {
            [0xff, 0xd8, 0xff, ..] => Some(PictureKind::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(PictureKind::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(PictureKind::Gif),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(PictureKind::WebP),
            _ => None,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            PictureKind::Jpeg => "image/jpeg",
            PictureKind::Png => "image/png",
            PictureKind::Gif => "image/gif",
            PictureKind::WebP => "image/webp",
        }
    }

    fn number(self) -> u8 {
        match self {
            PictureKind::Jpeg => 1,
            PictureKind::Png => 2,
            PictureKind::Gif => 3,
            PictureKind::WebP => 4,
        }
    }

    /// `None` is said by 0.
    fn read(value: &mut Reader) -> Result<Option<PictureKind>, Corrupt> {
        match value.u8()? {
            0 => Ok(None),
            1 => Ok(Some(PictureKind::Jpeg)),
            2 => Ok(Some(PictureKind::Png)),
            3 => Ok(Some(PictureKind::Gif)),
            4 => Ok(Some(PictureKind::WebP)),
            _ => Err(value.corrupt("a kind of picture that is none")),
        }
    }
}

/// A small picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallPicture {
    /// What its bytes are.
    pub kind: PictureKind,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The file.
    pub bytes: Bytes,
}

/// How a picture looks. Sizes are of the picture as it is to be shown, turned the right way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// What the file really is.
    pub kind: PictureKind,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The picture in two dozen bytes.
    pub thumbhash: Bytes,
    /// Small enough for the inside of a message: at most [`MOST_TINY_BYTES`].
    pub tiny: SmallPicture,
    /// Large enough for a list of messages: at most [`MOST_THUMBNAIL_BYTES`].
    pub thumbnail: SmallPicture,
}

/// What there is to see of a file (row `preview` of the file's partition).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preview {
    /// Nothing: it is no picture, a broken one, or larger than we decode. It is not looked at again.
    Nothing,
    /// This.
    Picture(Arc<Picture>),
}

impl Preview {
    /// The picture, if it is one.
    pub fn picture(&self) -> Option<&Picture> {
        match self {
            Preview::Nothing => None,
            Preview::Picture(picture) => Some(picture),
        }
    }

    fn encode(&self) -> Bytes {
        let Preview::Picture(picture) = self else {
            let mut value = Writer::new(VERSION, 1);
            value.u8(0);
            return value.finish();
        };
        let mut value = Writer::new(VERSION, MOST_TINY_BYTES + picture.thumbnail.bytes.len());
        value
            .u8(picture.kind.number())
            .u32(picture.width)
            .u32(picture.height)
            .bytes(&picture.thumbhash);
        for small in [&picture.tiny, &picture.thumbnail] {
            value
                .u8(small.kind.number())
                .u32(small.width)
                .u32(small.height)
                .bytes(&small.bytes);
        }
        value.finish()
    }

    fn decode(value: Bytes) -> Result<Preview, Corrupt> {
        let (_, mut value) = Reader::open("preview", value, VERSION)?;
        let Some(kind) = PictureKind::read(&mut value)? else {
            value.end()?;
            return Ok(Preview::Nothing);
        };
        let picture = Picture {
            kind,
            width: value.u32()?,
            height: value.u32()?,
            thumbhash: value.bytes()?,
            tiny: read_small(&mut value)?,
            thumbnail: read_small(&mut value)?,
        };
        value.end()?;
        Ok(Preview::Picture(Arc::new(picture)))
    }
}

fn read_small(value: &mut Reader) -> Result<SmallPicture, Corrupt> {
    let kind = PictureKind::read(value)?;
    Ok(SmallPicture {
        kind: kind.ok_or_else(|| value.corrupt("a small picture that is none"))?,
        width: value.u32()?,
        height: value.u32()?,
        bytes: value.bytes()?,
    })
}

/// What is known of how a file looks; `None` if nobody has looked yet, or there is no such file.
///
/// # Errors
/// The store's.
pub async fn preview(node: &Node, id: &FileId) -> Result<Option<Preview>, LedgerError> {
    let row = node
        .kv()
        .get(&tables::file_partition(id), tables::PREVIEW)
        .await?;
    Ok(row.map(Preview::decode).transpose()?)
}

/// Keeps a preview with its file, as long as that is there. It may be made again after a crash, so nobody waits for it.
///
/// # Errors
/// There is no such file (any more), or the store failed.
pub async fn keep_preview(node: &Node, id: &FileId, preview: &Preview) -> Result<(), LedgerError> {
    let there = file(node, id).await?.ok_or(LedgerError::NotFound)?;
    let home = node.home(&there.account);
    // What is removed is removed under this lock: nothing is written after that.
    let held = home.lock(node).await?;
    if !held.has_account {
        return Err(LedgerError::NotFound);
    }
    file(node, id).await?.ok_or(LedgerError::NotFound)?;
    let mut batch = Batch::new(tables::file_partition(id));
    batch.put(tables::PREVIEW, preview.encode());
    node.kv().commit(batch)?;
    Ok(())
}

/// Whoever has the bytes of files and can make small pictures of them. It may hold a node weakly only, since the node
/// holds it.
pub trait Painter: Send + Sync {
    /// Takes an order. Never waits; what it has taken it answers by [`Node::previewed`], after a bounded time.
    ///
    /// # Errors
    /// There is too much to do: the order comes back at once, with the error that whoever asked gets.
    fn take(&self, order: Order) -> Result<(), Box<(Order, StanzaError)>>;
}

/// Somebody waits to be told how a file looks.
#[derive(Debug)]
pub struct Order {
    /// Which.
    pub file: FileId,
    /// What they have asked with.
    pub(crate) request: Stanza,
}

impl Node {
    /// From now on `painter` makes previews. Only the first call counts; without it there are none.
    pub fn set_painter(&self, painter: Arc<dyn Painter>) {
        let _ = self.painter.set(painter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_what_its_first_bytes_say() {
        for (head, kind) in [
            (&b"\xff\xd8\xff\xe0"[..], Some(PictureKind::Jpeg)),
            (b"\x89PNG\r\n\x1a\n\0", Some(PictureKind::Png)),
            (b"GIF89a", Some(PictureKind::Gif)),
            (b"GIF87a", Some(PictureKind::Gif)),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", Some(PictureKind::WebP)),
            (b"RIFF\x01\x02\x03\x04WAVEfmt ", None),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
            (b"\xff\xd8", None),
            (b"", None),
        ] {
            assert_eq!(PictureKind::sniff(head), kind, "{head:?}");
        }
    }

    fn picture() -> Preview {
        let small = |kind, bytes: &'static [u8]| SmallPicture {
            kind,
            width: 3,
            height: 2,
            bytes: Bytes::from_static(bytes),
        };
        Preview::Picture(Arc::new(Picture {
            kind: PictureKind::WebP,
            width: 4000,
            height: 3000,
            thumbhash: Bytes::from_static(b"hash"),
            tiny: small(PictureKind::Jpeg, b"tiny"),
            thumbnail: small(PictureKind::Png, b"thumb"),
        }))
    }

    #[test]
    fn a_stored_value_of_version_1_stays_readable() {
        let golden = b"\x01\x04\0\0\x0f\xa0\0\0\x0b\xb8\0\0\0\x04hash\
            \x01\0\0\0\x03\0\0\0\x02\0\0\0\x04tiny\x02\0\0\0\x03\0\0\0\x02\0\0\0\x05thumb";
        assert_eq!(&picture().encode()[..], golden);
        assert_eq!(Preview::decode(Bytes::from_static(golden)), Ok(picture()));
        assert_eq!(&Preview::Nothing.encode()[..], b"\x01\0");
        let nothing = Preview::decode(Bytes::from_static(b"\x01\0"));
        assert_eq!(nothing, Ok(Preview::Nothing));
        for bad in [
            &b""[..],
            b"\x01",
            b"\x02\0",
            b"\x01\x09",
            b"\x01\0\0",
            b"\x01\x01",
        ] {
            assert!(Preview::decode(Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
    }
}
