//! Pictures to look at: honest ones, and those that somebody sends who means harm.

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

/// What no preview may tell: words of the original's metadata.
pub(super) const PRIVATE: [&str; 3] = ["Kronborg", "GPSCAMERA", "Hamlet"];

pub(super) const RED: [u8; 3] = [230, 20, 20];
pub(super) const GREEN: [u8; 3] = [20, 200, 20];
pub(super) const BLUE: [u8; 3] = [20, 20, 230];
pub(super) const WHITE: [u8; 3] = [250, 250, 250];

/// A picture whose corners tell them apart: red and green above, blue and white below.
pub(super) fn corners(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb(match (x < width / 2, y < height / 2) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => WHITE,
        })
    })
    .into()
}

pub(super) fn encoded(image: &DynamicImage, format: ImageFormat) -> Bytes {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner().into()
}

pub(super) fn jpeg(image: &DynamicImage) -> Bytes {
    encoded(image, ImageFormat::Jpeg)
}

/// A photo with all that a camera writes: how it was held, where, by whom.
pub(super) fn photo(image: &DynamicImage, orientation: u16) -> Bytes {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    encoder
        .set_icc_profile(b"profile of Hamlet".to_vec())
        .unwrap();
    encoder.encode_image(&image.to_rgb8()).unwrap();
    // A comment and XMP (Adobe's APP1), after the beginning.
    let xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>Kronborg</x:xmpmeta>";
    let comment = b"Hamlet was here";
    let mut all = bytes[..2].to_vec();
    for (marker, content) in [(0xe1, &xmp[..]), (0xfe, comment)] {
        all.extend([0xff, marker]);
        all.extend(u16::try_from(content.len() + 2).unwrap().to_be_bytes());
        all.extend(content);
    }
    all.extend(&bytes[2..]);
    all.into()
}

/// A PNG with the same in an `eXIf` chunk, and text.
pub(super) fn png_photo(image: &DynamicImage, orientation: u16) -> Bytes {
    let plain = encoded(image, ImageFormat::Png);
    // After the signature and IHDR.
    let (head, rest) = plain.split_at(8 + 25);
    let mut bytes = head.to_vec();
    bytes.extend(chunk(b"eXIf", &exif(orientation)));
    bytes.extend(chunk(b"tEXt", b"Author\0Hamlet of Kronborg"));
    bytes.extend(rest);
    bytes.into()
}

/// A WebP with the same in an `EXIF` chunk.
pub(super) fn webp_photo(image: &DynamicImage, orientation: u16) -> Bytes {
    let plain = encoded(image, ImageFormat::WebP);
    let piece = |name: &[u8; 4], content: &[u8]| {
        let mut piece = name.to_vec();
        piece.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        piece.extend(content);
        piece.resize(piece.len().next_multiple_of(2), 0);
        piece
    };
    const HAS_EXIF: u8 = 0x08;
    let mut extended = vec![HAS_EXIF, 0, 0, 0];
    for side in [image.width(), image.height()] {
        extended.extend(&(side - 1).to_le_bytes()[..3]);
    }
    let mut content = b"WEBP".to_vec();
    content.extend(piece(b"VP8X", &extended));
    content.extend(&plain[12..]);
    content.extend(piece(b"EXIF", &exif(orientation)));
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    bytes.extend(content);
    bytes.into()
}

/// Exif 2.3: the orientation, the camera, the artist, and a position with its place's name.
fn exif(orientation: u16) -> Vec<u8> {
    let (camera, artist, place) = (b"GPSCAMERA\0", b"Hamlet\0\0", b"Kronborg\0\0");
    const ENTRIES: u32 = 4;
    let gps_at = 8 + 2 + ENTRIES * 12 + 4;
    let texts_at = gps_at + 2 + 12 + 4;
    let length = |text: &[u8]| u32::try_from(text.len()).unwrap();
    let camera_at = texts_at;
    let artist_at = camera_at + length(camera);
    let place_at = artist_at + length(artist);
    let mut bytes = b"MM\0\x2a\0\0\0\x08\0\x04".to_vec();
    let mut entry = |tag: u16, kind: u16, count: u32, value: u32| {
        bytes.extend(tag.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend(count.to_be_bytes());
        bytes.extend(value.to_be_bytes());
    };
    entry(0x010f, 2, length(camera), camera_at);
    entry(0x0112, 3, 1, u32::from(orientation) << 16);
    entry(0x013b, 2, length(artist), artist_at);
    entry(0x8825, 4, 1, gps_at);
    bytes.extend([0; 4]);
    bytes.extend([0, 1]);
    // GPSAreaInformation.
    bytes.extend([0, 0x1c, 0, 2]);
    bytes.extend(length(place).to_be_bytes());
    bytes.extend(place_at.to_be_bytes());
    bytes.extend([0; 4]);
    for text in [&camera[..], artist, place] {
        bytes.extend(text);
    }
    bytes
}

/// One chunk of a PNG.
fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(name);
    bytes.extend(content);
    let sum = crc(&bytes[4..]);
    bytes.extend(sum.to_be_bytes());
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

/// A PNG that says that it is as large as that, and is not.
pub(super) fn png_bomb(width: u32, height: u32) -> Bytes {
    let mut header = width.to_be_bytes().to_vec();
    header.extend(height.to_be_bytes());
    header.extend([8, 6, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(chunk(b"IHDR", &header));
    bytes.extend(chunk(b"IDAT", b"\x78\x9c\x63\0\0\0\x01\0\x01"));
    bytes.extend(chunk(b"IEND", b""));
    bytes.into()
}

pub(super) fn gif_bomb(width: u16, height: u16) -> Bytes {
    let mut bytes = b"GIF89a".to_vec();
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    bytes.extend([0x2c, 0, 0, 0, 0]);
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([0, 2, 2, 0x44, 0x01, 0, 0x3b]);
    bytes.into()
}

/// A small GIF whose only frame says that it is as large as that.
pub(super) fn gif_frame_bomb() -> Bytes {
    let mut bytes = gif_bomb(u16::MAX, u16::MAX).to_vec();
    bytes[6..10].copy_from_slice(&[4, 0, 4, 0]);
    bytes.into()
}

pub(super) fn jpeg_bomb(width: u16, height: u16) -> Bytes {
    let mut bytes = jpeg(&corners(16, 16)).to_vec();
    let frame = bytes
        .windows(2)
        .position(|two| two == [0xff, 0xc0])
        .unwrap();
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes.into()
}

/// A lossless WebP that says that it is about as large as a WebP can be.
pub(super) fn webp_bomb() -> Bytes {
    let mut bytes = encoded(&corners(16, 16), ImageFormat::WebP).to_vec();
    let stream = bytes.windows(4).position(|four| four == b"VP8L").unwrap() + 8;
    assert_eq!(bytes[stream], 0x2f);
    // Twice 14 bits for 16383, less one.
    bytes[stream + 1..stream + 4].copy_from_slice(&[0xfe, 0xbf, 0xff]);
    bytes[stream + 4] |= 0x0f;
    bytes.into()
}

/// A true picture of many pixels in few bytes.
pub(super) fn vast_png(width: u32, height: u32) -> Bytes {
    let mut bytes = Vec::new();
    let pixels = vec![0; (width * height) as usize];
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(&pixels, width, height, ExtendedColorType::L8)
        .unwrap();
    bytes.into()
}
