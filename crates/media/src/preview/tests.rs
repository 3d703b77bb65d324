//! What pictures become, honest ones and others.

use std::time::Duration;

use bytes::Bytes;
use image::{DynamicImage, GrayAlphaImage, ImageFormat, Luma, LumaA, Rgba, RgbaImage};
use posthaste_im::media::{
    MOST_THUMBNAIL_BYTES, MOST_TINY_BYTES, Picture, PictureKind, SmallPicture,
};

use super::Bounds;
use super::paint::{Refusal, cost, paint};
use super::samples::{self, BLUE, GREEN, PRIVATE, RED, WHITE, corners};

fn kind(bytes: &Bytes) -> PictureKind {
    PictureKind::sniff(bytes).unwrap()
}

fn painted_within(bytes: &Bytes, bounds: &Bounds) -> Result<Picture, Refusal> {
    cost(kind(bytes), bytes, bounds)?;
    paint(kind(bytes), bytes, bounds)
}

fn painted(bytes: &Bytes) -> Result<Picture, Refusal> {
    painted_within(bytes, &Bounds::default())
}

fn opened(small: &SmallPicture) -> DynamicImage {
    let image = image::load_from_memory(&small.bytes).unwrap();
    assert_eq!((image.width(), image.height()), (small.width, small.height));
    assert_eq!(PictureKind::sniff(&small.bytes), Some(small.kind));
    image
}

/// Is the pixel at this part of the way from left to right and from above to below of about this colour?
fn is_at(image: &DynamicImage, (x, y): (f32, f32), color: [u8; 3]) -> bool {
    let image = image.to_rgb8();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the picture"
    )]
    let at = |part: f32, side: u32| (part * side as f32) as u32;
    let pixel = image
        .get_pixel(at(x, image.width()), at(y, image.height()))
        .0;
    pixel
        .iter()
        .zip(color)
        .all(|(is, should)| is.abs_diff(should) < 50)
}

fn has_corners(image: &DynamicImage, corners: [[u8; 3]; 4]) -> bool {
    let places = [(0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)];
    places
        .into_iter()
        .zip(corners)
        .all(|(place, color)| is_at(image, place, color))
}

#[test]
fn a_photo_becomes_a_thumbnail_a_tiny_picture_and_a_hash() {
    let picture = painted(&samples::jpeg(&corners(1600, 1200))).unwrap();
    assert_eq!((picture.width, picture.height), (1600, 1200));
    assert_eq!(picture.kind, PictureKind::Jpeg);
    let thumbnail = opened(&picture.thumbnail);
    assert_eq!((thumbnail.width(), thumbnail.height()), (320, 240));
    assert!(has_corners(&thumbnail, [RED, GREEN, BLUE, WHITE]));
    let tiny = opened(&picture.tiny);
    assert!(tiny.width() <= 48 && tiny.height() == tiny.width() * 3 / 4);
    assert!(has_corners(&tiny, [RED, GREEN, BLUE, WHITE]));
    assert!((5..=25).contains(&picture.thumbhash.len()));
    let (width, height, _) = thumbhash::thumb_hash_to_rgba(&picture.thumbhash).unwrap();
    assert!(width > height);
}

#[test]
fn all_formats_are_known_by_their_bytes() {
    for (format, kind) in [
        (ImageFormat::Jpeg, PictureKind::Jpeg),
        (ImageFormat::Png, PictureKind::Png),
        (ImageFormat::Gif, PictureKind::Gif),
        (ImageFormat::WebP, PictureKind::WebP),
    ] {
        let picture = painted(&samples::encoded(&corners(64, 32), format)).unwrap();
        assert_eq!(picture.kind, kind);
        // Nothing is made larger than it is.
        let thumbnail = opened(&picture.thumbnail);
        assert_eq!((thumbnail.width(), thumbnail.height()), (64, 32));
        assert!(
            has_corners(&thumbnail, [RED, GREEN, BLUE, WHITE]),
            "{kind:?}"
        );
    }
}

#[test]
fn however_the_camera_was_held_the_picture_stands_upright() {
    let upright = corners(80, 48);
    let [a, b, c, d] = [RED, GREEN, BLUE, WHITE];
    for (orientation, seen) in [
        (1, [a, b, c, d]),
        (2, [b, a, d, c]),
        (3, [d, c, b, a]),
        (4, [c, d, a, b]),
        (5, [a, c, b, d]),
        (6, [c, a, d, b]),
        (7, [d, b, c, a]),
        (8, [b, d, a, c]),
    ] {
        let turns = orientation >= 5;
        for photo in [
            samples::photo(&upright, orientation),
            samples::png_photo(&upright, orientation),
            samples::webp_photo(&upright, orientation),
        ] {
            let picture = painted(&photo).unwrap();
            let kind = picture.kind;
            let size = if turns { (48, 80) } else { (80, 48) };
            assert_eq!(
                (picture.width, picture.height),
                size,
                "{kind:?} {orientation}"
            );
            for small in [&picture.thumbnail, &picture.tiny] {
                assert!(has_corners(&opened(small), seen), "{kind:?} {orientation}");
            }
        }
    }
    // What is no orientation turns nothing.
    let odd = painted(&samples::photo(&upright, 9)).unwrap();
    assert!(has_corners(&opened(&odd.thumbnail), [a, b, c, d]));
}

#[test]
fn nothing_of_the_metadata_gets_into_what_is_made() {
    let contains = |bytes: &[u8], word: &str| {
        bytes
            .windows(word.len())
            .any(|window| window == word.as_bytes())
    };
    let transparent: DynamicImage = RgbaImage::from_pixel(64, 64, Rgba([200, 10, 10, 100])).into();
    for photo in [
        samples::photo(&corners(640, 480), 6),
        samples::png_photo(&corners(640, 480), 6),
        samples::webp_photo(&corners(640, 480), 6),
        samples::png_photo(&transparent, 6),
    ] {
        for word in ["Kronborg", "GPSCAMERA", "Hamlet"] {
            assert!(contains(&photo, word), "the sample has {word}");
        }
        let picture = painted(&photo).unwrap();
        for small in [&picture.thumbnail, &picture.tiny] {
            for word in PRIVATE
                .into_iter()
                .chain(["Exif", "eXIf", "EXIF", "ICC_PROFILE", "iCCP"])
            {
                assert!(!contains(&small.bytes, word), "{:?}: {word}", picture.kind);
            }
        }
    }
}

#[test]
fn what_shines_through_still_does_and_lies_on_white_where_it_cannot() {
    let half = RgbaImage::from_fn(400, 200, |x, _| match x < 200 {
        true => Rgba([230, 20, 20, 255]),
        false => Rgba([0, 0, 0, 0]),
    });
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let picture = painted(&samples::encoded(&half.clone().into(), format)).unwrap();
        assert_eq!(picture.thumbnail.kind, PictureKind::Png);
        let thumbnail = opened(&picture.thumbnail).into_rgba8();
        assert_eq!(thumbnail.get_pixel(300, 80).0[3], 0);
        assert_eq!(thumbnail.get_pixel(20, 80).0[3], 255);
        assert_eq!(picture.tiny.kind, PictureKind::Jpeg);
        let tiny = opened(&picture.tiny);
        assert!(is_at(&tiny, (0.2, 0.5), RED) && is_at(&tiny, (0.9, 0.5), WHITE));
    }
}

#[test]
fn every_kind_of_pixel_is_shown() {
    let gray16 = image::ImageBuffer::<Luma<u16>, _>::from_pixel(40, 20, Luma([0x8000]));
    let gray_alpha = GrayAlphaImage::from_pixel(40, 20, LumaA([128, 255]));
    let color16 = corners(40, 20).into_rgb16();
    let alpha16 = corners(40, 20).into_rgba16();
    for (image, is_gray) in [
        (DynamicImage::ImageLuma16(gray16), true),
        (DynamicImage::ImageLumaA8(gray_alpha), true),
        (DynamicImage::ImageRgb16(color16), false),
        (DynamicImage::ImageRgba16(alpha16), false),
    ] {
        let picture = painted(&samples::encoded(&image, ImageFormat::Png)).unwrap();
        let thumbnail = opened(&picture.thumbnail);
        let as_it_was = match is_gray {
            true => is_at(&thumbnail, (0.5, 0.5), [128; 3]),
            false => has_corners(&thumbnail, [RED, GREEN, BLUE, WHITE]),
        };
        assert!(as_it_was, "{:?}", image.color());
    }
    let gray = samples::jpeg(&corners(40, 20).grayscale());
    assert!(painted(&gray).is_ok());
}

/// Of other programs: what our own encoders cannot write. Red on the left, and on the right blue or nothing.
#[test]
fn what_other_programs_write_is_shown() {
    let (red, blue) = ([255, 0, 0], [0, 0, 255]);
    for (file, right) in [
        (
            &include_bytes!("../../tests/pictures/cmyk.jpg")[..],
            Some(blue),
        ),
        (
            include_bytes!("../../tests/pictures/progressive.jpg"),
            Some(blue),
        ),
        (
            include_bytes!("../../tests/pictures/palette.png"),
            Some(blue),
        ),
        (include_bytes!("../../tests/pictures/lossy.webp"), None),
        // Of these the first frame, which is all red.
        (
            include_bytes!("../../tests/pictures/animated.gif"),
            Some(red),
        ),
        (
            include_bytes!("../../tests/pictures/animated.png"),
            Some(red),
        ),
        (
            include_bytes!("../../tests/pictures/animated.webp"),
            Some(red),
        ),
    ] {
        let file = Bytes::from_static(file);
        let picture = painted(&file).unwrap();
        assert_eq!((picture.width, picture.height), (64, 32));
        let thumbnail = opened(&picture.thumbnail);
        assert!(is_at(&thumbnail, (0.2, 0.5), red), "{:?}", kind(&file));
        match right {
            Some(color) => assert!(is_at(&thumbnail, (0.8, 0.5), color), "{:?}", kind(&file)),
            None => assert!(thumbnail.to_rgba8().get_pixel(60, 16).0[3] < 10),
        }
    }
    let bilevel = Bytes::from_static(include_bytes!("../../tests/pictures/bilevel.png"));
    assert!(painted(&bilevel).is_ok());
}

#[test]
fn few_bytes_that_claim_to_be_many_pixels_are_refused_before_they_are_decoded() {
    for bomb in [
        samples::png_bomb(u32::MAX >> 1, u32::MAX >> 1),
        samples::png_bomb(30_000, 30_000),
        samples::png_bomb(200_000, 1),
        samples::gif_bomb(u16::MAX, u16::MAX),
        samples::jpeg_bomb(u16::MAX, u16::MAX),
        samples::webp_bomb(),
    ] {
        assert!(bomb.len() < 2_000);
        let refused = cost(kind(&bomb), &bomb, &Bounds::default());
        assert!(matches!(refused, Err(Refusal::TooLarge)), "{refused:?}");
    }
    // What is small outside and large inside is not believed either.
    let frame = samples::gif_frame_bomb();
    let refused = painted(&frame);
    assert!(
        !matches!(&refused, Ok(picture) if picture.width > 4),
        "{refused:?}"
    );
    // A true one of many pixels in few bytes, below and above what is allowed.
    let vast = samples::vast_png(4_000, 4_000);
    assert!(vast.len() < 100_000);
    assert!(painted(&vast).is_ok());
    let bounds = Bounds {
        pixels: 15_999_999,
        ..Bounds::default()
    };
    assert!(matches!(
        painted_within(&vast, &bounds),
        Err(Refusal::TooLarge)
    ));
    let bounds = Bounds {
        memory: 16 << 20,
        ..Bounds::default()
    };
    assert!(matches!(
        painted_within(&vast, &bounds),
        Err(Refusal::TooLarge)
    ));
}

#[test]
fn decoding_ends_when_its_time_is_over() {
    let bounds = Bounds {
        time: Duration::ZERO,
        ..Bounds::default()
    };
    for format in [
        ImageFormat::Png,
        ImageFormat::Gif,
        ImageFormat::WebP,
        ImageFormat::Jpeg,
    ] {
        let picture = samples::encoded(&corners(64, 64), format);
        let refused = painted_within(&picture, &bounds);
        assert!(refused.is_err(), "{format:?}");
    }
}

#[test]
fn a_progressive_photo_is_counted_with_all_its_passes() {
    let (plain, passes) = (
        samples::jpeg(&corners(64, 32)),
        Bytes::from_static(include_bytes!("../../tests/pictures/progressive.jpg")),
    );
    let cost = |bytes: &Bytes| cost(PictureKind::Jpeg, bytes, &Bounds::default()).unwrap();
    assert!(cost(&plain) - 2 * plain.len() as u64 == 64 * 32 * 4);
    assert!(cost(&passes) - 2 * passes.len() as u64 == 64 * 32 * 11);
}

#[test]
fn what_is_cut_off_or_lies_brings_nothing_down() {
    for format in [
        ImageFormat::Png,
        ImageFormat::Gif,
        ImageFormat::WebP,
        ImageFormat::Jpeg,
    ] {
        let whole = samples::encoded(&corners(120, 90), format);
        for end in (PictureKind::SNIFFED..whole.len()).step_by(31) {
            let cut = whole.slice(..end);
            // Half a photo may be shown; whatever it is, it is as large as it says.
            if let Ok(picture) = painted(&cut) {
                assert_eq!(
                    (picture.width, picture.height),
                    (120, 90),
                    "{format:?} {end}"
                );
            }
        }
        for at in (0..whole.len()).step_by(11) {
            let mut changed = whole.to_vec();
            changed[at] ^= 0x55;
            let changed = Bytes::from(changed);
            if let Some(kind) = PictureKind::sniff(&changed)
                && cost(kind, &changed, &Bounds::default()).is_ok()
            {
                let _ = paint(kind, &changed, &Bounds::default());
            }
        }
        // The head of one and the body of another.
        for other in [&b"\x89PNG\r\n\x1a\n"[..], b"GIF89a", b"\xff\xd8\xff\xe0"] {
            let lie = Bytes::from([other, &whole[other.len()..]].concat());
            if kind(&lie) != kind(&whole) {
                assert!(painted(&lie).is_err(), "{format:?} as {:?}", kind(&lie));
            }
        }
    }
}

#[test]
fn the_worst_pictures_stay_within_their_bytes() {
    // Noise is what cannot be made small.
    let mut seed = 1u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()
    };
    let clear = RgbaImage::from_fn(320, 320, |_, _| Rgba([0; 4].map(|_: u8| noise()[0])));
    let mut opaque = RgbaImage::from_fn(320, 320, |_, _| Rgba([0; 4].map(|_: u8| noise()[0])));
    opaque.pixels_mut().for_each(|pixel| pixel.0[3] = 255);
    for image in [opaque, clear] {
        let picture = painted(&samples::encoded(&image.into(), ImageFormat::Png)).unwrap();
        assert!(picture.thumbnail.bytes.len() <= MOST_THUMBNAIL_BYTES);
        assert!(picture.tiny.bytes.len() <= MOST_TINY_BYTES);
        assert!(picture.thumbhash.len() <= 25);
    }
}

#[test]
fn a_line_is_a_picture_too() {
    for (width, height) in [(1, 1), (1, 900), (900, 1), (20_000, 2)] {
        let picture =
            painted(&samples::encoded(&corners(width, height), ImageFormat::Png)).unwrap();
        assert_eq!((picture.width, picture.height), (width, height));
        let longest = picture.thumbnail.width.max(picture.thumbnail.height);
        assert!(longest <= 320 && picture.thumbnail.width.min(picture.thumbnail.height) >= 1);
    }
}

#[tokio::test]
async fn a_decoder_that_panics_costs_its_picture_and_nothing_else() {
    let painted = super::on_thread::<()>(|| panic!("the file made it")).await;
    assert!(matches!(painted, Err(Refusal::Broken(_))), "{painted:?}");
}
