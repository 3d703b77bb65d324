//! A small picture that stands for a large one until somebody wants to see it.
//!
//! XEP-0264 0.4.2: `<thumbnail/>`, as it stands in the metadata of a file. Its data are elsewhere: on the web (`https:`),
//! beside it or at its sender (`cid:`, XEP-0231), or in the address itself (`data:`), as clients do with a ThumbHash.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::ns;
use crate::xml::Element;

/// What clients call the media type of a ThumbHash.
pub const THUMBHASH: &str = "image/thumbhash";

/// One form of a small picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// Where its data are.
    pub uri: String,
    /// Their media type.
    pub media_type: Option<String>,
    /// How wide it is meant to be shown, in pixels.
    pub width: Option<u16>,
    /// How high.
    pub height: Option<u16>,
}

impl Thumbnail {
    /// A thumbnail of this size in pixels; what is larger than the schema can say is left out.
    pub fn new(
        uri: impl Into<String>,
        media_type: impl Into<String>,
        (width, height): (u32, u32),
    ) -> Thumbnail {
        Thumbnail {
            uri: uri.into(),
            media_type: Some(media_type.into()),
            width: u16::try_from(width).ok(),
            height: u16::try_from(height).ok(),
        }
    }

    /// A ThumbHash, whole in its address, for a picture of this size. No XEP says how; this is RFC 2397 as Slidge writes
    /// it.
    pub fn of_thumbhash(hash: &[u8], size: (u32, u32)) -> Thumbnail {
        let hash = BASE64_STANDARD.encode(hash);
        Thumbnail::new(format!("data:{THUMBHASH};base64,{hash}"), THUMBHASH, size)
    }

    /// Reads a `<thumbnail/>`; `None` without the address, which is required. A size that is none is left out.
    pub fn read(thumbnail: &Element) -> Option<Thumbnail> {
        let number = |name| thumbnail.attr(name).and_then(|text| text.parse().ok());
        Some(Thumbnail {
            uri: thumbnail.attr("uri")?.to_owned(),
            media_type: thumbnail.attr("media-type").map(str::to_owned),
            width: number("width"),
            height: number("height"),
        })
    }

    /// The element.
    pub fn to_element(&self) -> Element {
        Element::new("thumbnail", ns::THUMBS)
            .with_attr("uri", &*self.uri)
            .with_attr_opt("media-type", self.media_type.as_deref())
            .with_attr_opt("width", self.width.map(|width| width.to_string()))
            .with_attr_opt("height", self.height.map(|height| height.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_is_read_as_it_was_written() {
        let there = Thumbnail::new("https://example.org/t", "image/png", (128, 96));
        assert_eq!(Thumbnail::read(&there.to_element()), Some(there));
        let bare = Element::new("thumbnail", ns::THUMBS).with_attr("uri", "cid:x");
        let read = Thumbnail::read(&bare).unwrap();
        assert_eq!((read.media_type, read.width), (None, None));
        assert_eq!(
            Thumbnail::read(&Element::new("thumbnail", ns::THUMBS)),
            None
        );
        let vast = bare.with_attr("width", "70000").with_attr("height", "-1");
        let read = Thumbnail::read(&vast).unwrap();
        assert_eq!((read.width, read.height), (None, None));
    }

    #[test]
    fn a_thumbhash_is_its_own_address() {
        let hash = Thumbnail::of_thumbhash(&[0xfb, 0xff, 0x01], (4000, 70_000));
        assert_eq!(hash.uri, "data:image/thumbhash;base64,+/8B");
        assert_eq!((hash.width, hash.height), (Some(4000), None));
    }
}
