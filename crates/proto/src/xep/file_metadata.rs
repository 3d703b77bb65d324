//! What is said of a file: its name, its size, what it is, and how it looks.
//!
//! XEP-0446 0.2.0, with the hashes of XEP-0300 (1.0.0) and the thumbnails of XEP-0264. Descriptions, dates and lengths of
//! sound are left out: they are the sender's to know.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::thumbnails::Thumbnail;
use crate::ns;
use crate::xml::Element;

/// Hashes and thumbnails of one file that are read: each is there in a few forms.
pub const MOST_FORMS: usize = 16;

/// A hash of a file (XEP-0300).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash {
    /// How it was made, such as `sha-256`.
    pub algorithm: String,
    /// What came of it.
    pub value: Vec<u8>,
}

/// What is said of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileMetadata {
    /// What it is.
    pub media_type: Option<String>,
    /// What it is called.
    pub name: Option<String>,
    /// How many bytes it has.
    pub size: Option<u64>,
    /// How wide it is shown, in pixels.
    pub width: Option<u32>,
    /// How high.
    pub height: Option<u32>,
    /// Its hashes.
    pub hashes: Vec<Hash>,
    /// How it looks, in several forms.
    pub thumbnails: Vec<Thumbnail>,
}

impl FileMetadata {
    /// Reads a `<file/>`: what cannot be read in it is as if it were not there.
    pub fn read(file: &Element) -> FileMetadata {
        let text = |name| file.child(name, ns::FILE_METADATA).map(Element::text);
        let number = |name| text(name).and_then(|text| text.trim().parse().ok());
        let all = |name, ns| file.children().filter(move |child| child.is(name, ns));
        FileMetadata {
            media_type: text("media-type"),
            name: text("name"),
            size: text("size").and_then(|text| text.trim().parse().ok()),
            width: number("width"),
            height: number("height"),
            hashes: all("hash", ns::HASHES)
                .filter_map(Hash::read)
                .take(MOST_FORMS)
                .collect(),
            thumbnails: all("thumbnail", ns::THUMBS)
                .filter_map(Thumbnail::read)
                .take(MOST_FORMS)
                .collect(),
        }
    }

    /// The element.
    pub fn to_element(&self) -> Element {
        let child = |name: &'static str, text: String| {
            Element::new(name, ns::FILE_METADATA).with_text(&text)
        };
        let said = [
            ("media-type", self.media_type.clone()),
            ("name", self.name.clone()),
            ("size", self.size.map(|size| size.to_string())),
            ("width", self.width.map(|width| width.to_string())),
            ("height", self.height.map(|height| height.to_string())),
        ];
        let said = said
            .into_iter()
            .filter_map(|(name, text)| Some(child(name, text?)));
        Element::new("file", ns::FILE_METADATA)
            .with_children(said)
            .with_children(self.hashes.iter().map(Hash::to_element))
            .with_children(self.thumbnails.iter().map(Thumbnail::to_element))
    }
}

impl Hash {
    fn read(hash: &Element) -> Option<Hash> {
        Some(Hash {
            algorithm: hash.attr("algo")?.to_owned(),
            value: BASE64_STANDARD.decode(hash.text().trim()).ok()?,
        })
    }

    fn to_element(&self) -> Element {
        Element::new("hash", ns::HASHES)
            .with_attr("algo", &*self.algorithm)
            .with_text(&BASE64_STANDARD.encode(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_read_as_they_were_written() {
        let file = FileMetadata {
            media_type: Some("image/jpeg".to_owned()),
            name: Some("summit.jpg".to_owned()),
            size: Some(3_032_449),
            width: Some(4096),
            height: Some(2160),
            hashes: vec![Hash {
                algorithm: "sha-256".to_owned(),
                value: vec![1, 2, 3],
            }],
            thumbnails: vec![Thumbnail::new("cid:x", "image/png", (128, 96))],
        };
        assert_eq!(FileMetadata::read(&file.to_element()), file);
        let nothing = FileMetadata::default();
        assert_eq!(FileMetadata::read(&nothing.to_element()), nothing);
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        let xml = "<file xmlns='urn:xmpp:file:metadata:0'><size>-1</size><width>wide</width>\
            <height> 7 </height><hash xmlns='urn:xmpp:hashes:2' algo='sha-1'>!</hash>\
            <hash xmlns='urn:xmpp:hashes:2'>AA==</hash><thumbnail xmlns='urn:xmpp:thumbs:1'/></file>";
        let file = Element::parse(xml.as_bytes(), "").unwrap();
        let height = Some(7);
        let read = FileMetadata::read(&file);
        assert_eq!(
            read,
            FileMetadata {
                height,
                ..FileMetadata::default()
            }
        );
    }
}
