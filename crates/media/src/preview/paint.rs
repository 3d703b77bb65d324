//! From the bytes of a picture to small pictures of it. Nothing here waits, and nothing of the original but its pixels
//! gets into what comes out: not where it was taken, not by whom, not with what.

use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom};
use std::time::Instant;

use bytes::Bytes;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage,
};
use posthaste_im::media::{
    MOST_THUMBNAIL_BYTES, MOST_TINY_BYTES, Picture, PictureKind, SmallPicture,
};
use thiserror::Error;

use super::Bounds;

/// The longest side of the larger form, in pixels: half the width of a phone's screen.
const THUMBNAIL_SIDE: u32 = 320;
/// What is tried one after another until it is small enough: longest side and quality of JPEG. The last one always is.
const THUMBNAIL_STEPS: &[(u32, u8)] = &[(320, 80), (320, 60), (240, 60), (160, 50), (96, 40)];
const TINY_STEPS: &[(u32, u8)] = &[(48, 50), (40, 40), (32, 40), (24, 30), (16, 20)];
/// A ThumbHash is made of at most so many pixels a side.
const HASH_SIDE: u32 = 100;
/// What shines through where the tiny form has nothing: JPEG knows no transparency.
const PAPER: u8 = 255;

/// Why there is no small picture. All of it is the file's fault, and stays so.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// More pixels, or memory to decode them, than we give to one picture.
    #[error("the picture is too large to be decoded")]
    TooLarge,
    /// It takes too long.
    #[error("decoding took too long")]
    TooSlow,
    /// It is broken, cut off, or of a form that is not known here.
    #[error("the picture cannot be decoded: {0}")]
    Broken(String),
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Refusal {
        match error {
            ImageError::Limits(_) => Refusal::TooLarge,
            ImageError::IoError(error) if error.kind() == io::ErrorKind::TimedOut => {
                Refusal::TooSlow
            }
            other => Refusal::Broken(other.to_string()),
        }
    }
}

/// How much memory it takes to decode the picture and to make it smaller, in bytes.
///
/// # Errors
/// More than is allowed, or it is broken.
pub(crate) fn cost(kind: PictureKind, bytes: &Bytes, bounds: &Bounds) -> Result<u64, Refusal> {
    let until = Instant::now() + bounds.time;
    let decoder = decoder(kind, bytes, bounds, until)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(Refusal::Broken("it has no pixels".to_owned()));
    }
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) > bounds.side || pixels > bounds.pixels {
        return Err(Refusal::TooLarge);
    }
    let color = decoder.color_type();
    let decoded = u64::from(color.bytes_per_pixel());
    // Making it smaller takes a copy with the colours multiplied by how much of them is seen.
    let multiplied = if color.has_alpha() { decoded } else { 0 };
    let beside = match kind {
        // All coefficients of all its passes: two bytes for each of up to four components.
        PictureKind::Jpeg if is_progressive(bytes) => 8,
        PictureKind::Jpeg => 1,
        // A row or two, and the passes of an interlaced one are put where they belong.
        PictureKind::Png => 1,
        // The frame before it is put in its place.
        PictureKind::Gif => 4,
        // Planes of colour, or what a lossless one is made of.
        PictureKind::WebP => 8,
    };
    // The file, and the decoder's copy of it.
    let files = 2 * bytes.len() as u64;
    let cost = pixels * (decoded + multiplied + beside) + files;
    if cost > bounds.memory {
        return Err(Refusal::TooLarge);
    }
    Ok(cost)
}

/// RFC 1951 and others let few bytes become many: what they may become at most was said by [`cost`], which comes first.
///
/// # Errors
/// It is broken, or takes too long.
pub(crate) fn paint(kind: PictureKind, bytes: &Bytes, bounds: &Bounds) -> Result<Picture, Refusal> {
    let until = Instant::now() + bounds.time;
    let mut decoder = decoder(kind, bytes, bounds, until)?;
    // A picture whose metadata are broken is shown as it lies.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder)?;
    if Instant::now() > until {
        return Err(Refusal::TooSlow);
    }
    let (width, height) = turned((image.width(), image.height()), orientation);
    let mut small = scaled(&image, THUMBNAIL_SIDE)?;
    drop(image);
    small.apply_orientation(orientation);
    let small = small.into_rgba8();
    Ok(Picture {
        kind,
        width,
        height,
        thumbhash: thumbhash(&small)?,
        tiny: jpeg(&small, TINY_STEPS, MOST_TINY_BYTES)?,
        thumbnail: match small.pixels().all(|pixel| pixel.0[3] == u8::MAX) {
            true => jpeg(&small, THUMBNAIL_STEPS, MOST_THUMBNAIL_BYTES)?,
            false => png(&small)?,
        },
    })
}

fn decoder(
    kind: PictureKind,
    bytes: &Bytes,
    bounds: &Bounds,
    until: Instant,
) -> Result<impl ImageDecoder + 'static, Refusal> {
    let format = match kind {
        PictureKind::Jpeg => ImageFormat::Jpeg,
        PictureKind::Png => ImageFormat::Png,
        PictureKind::Gif => ImageFormat::Gif,
        PictureKind::WebP => ImageFormat::WebP,
    };
    let bytes = Timed {
        bytes: Cursor::new(bytes.clone()),
        until,
    };
    let mut reader = ImageReader::with_format(bytes, format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(bounds.side);
    limits.max_image_height = Some(bounds.side);
    limits.max_alloc = Some(bounds.memory);
    reader.limits(limits);
    Ok(reader.into_decoder()?)
}

/// A picture's bytes, until its time is over.
struct Timed {
    bytes: Cursor<Bytes>,
    until: Instant,
}

impl Timed {
    fn check(&self) -> io::Result<()> {
        match Instant::now() > self.until {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.bytes.read(buffer)
    }
}

impl BufRead for Timed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        self.bytes.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.consume(amount);
    }
}

impl Seek for Timed {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

/// Does the JPEG come in passes over the whole picture (ITU T.81 B.1.1.3)? Then all of it is in memory at once.
fn is_progressive(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xff, marker, after @ ..] = rest {
        match marker {
            // Fill bytes, and markers that stand alone.
            0xff => rest = &rest[1..],
            0x01 | 0xd0..=0xd8 => rest = after,
            0xc4 | 0xc8 | 0xcc | 0xe0..=0xfe | 0xdb | 0xdd => {
                let [high, low, ..] = after else { return true };
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest = after.get(length..).unwrap_or_default();
            }
            0xc0 | 0xc1 => return false,
            _ => return true,
        }
    }
    // What is not read here as the decoder reads it counts as the costlier.
    true
}

fn turned((width, height): (u32, u32), orientation: Orientation) -> (u32, u32) {
    match orientation {
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => (width, height),
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
    }
}

/// The picture in pixels of the same kind, with no side longer than `most`; never larger than it is.
fn scaled(image: &DynamicImage, most: u32) -> Result<DynamicImage, Refusal> {
    let (width, height) = fitting((image.width(), image.height()), most);
    let mut small = DynamicImage::new(width, height, image.color());
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new()
        .resize(image, &mut small, &options)
        .map_err(|error| Refusal::Broken(error.to_string()))?;
    Ok(small)
}

fn fitting((width, height): (u32, u32), most: u32) -> (u32, u32) {
    let longest = width.max(height);
    if longest <= most {
        return (width, height);
    }
    let fit = |side: u32| {
        let side = u64::from(side) * u64::from(most) / u64::from(longest);
        u32::try_from(side).unwrap_or(most).max(1)
    };
    (fit(width), fit(height))
}

fn scaled_rgba(image: &RgbaImage, most: u32) -> Result<RgbaImage, Refusal> {
    let image = DynamicImage::ImageRgba8(image.clone());
    Ok(scaled(&image, most)?.into_rgba8())
}

fn thumbhash(image: &RgbaImage) -> Result<Bytes, Refusal> {
    let small = scaled_rgba(image, HASH_SIDE)?;
    let (width, height) = (small.width() as usize, small.height() as usize);
    Ok(thumbhash::rgba_to_thumb_hash(width, height, small.as_raw()).into())
}

/// The largest of these sizes that takes no more than `most` bytes.
fn jpeg(image: &RgbaImage, steps: &[(u32, u8)], most: usize) -> Result<SmallPicture, Refusal> {
    for (side, quality) in steps {
        let small = on_paper(&scaled_rgba(image, *side)?);
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, *quality).encode_image(&small)?;
        if bytes.len() <= most {
            let (width, height) = small.dimensions();
            return Ok(SmallPicture {
                kind: PictureKind::Jpeg,
                width,
                height,
                bytes: bytes.into(),
            });
        }
    }
    Err(Refusal::TooLarge)
}

fn png(image: &RgbaImage) -> Result<SmallPicture, Refusal> {
    for (side, _) in THUMBNAIL_STEPS {
        let small = scaled_rgba(image, *side)?;
        let mut bytes = Vec::new();
        small.write_with_encoder(PngEncoder::new(&mut bytes))?;
        if bytes.len() <= MOST_THUMBNAIL_BYTES {
            let (width, height) = small.dimensions();
            return Ok(SmallPicture {
                kind: PictureKind::Png,
                width,
                height,
                bytes: bytes.into(),
            });
        }
    }
    Err(Refusal::TooLarge)
}

/// What is seen of the picture when it lies on white paper.
fn on_paper(image: &RgbaImage) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0;
        let blend = |color: u8| {
            let (alpha, paper) = (u32::from(alpha), u32::from(PAPER));
            let seen = (u32::from(color) * alpha + paper * (255 - alpha)) / 255;
            u8::try_from(seen).unwrap_or(PAPER)
        };
        image::Rgb([blend(red), blend(green), blend(blue)])
    })
}
