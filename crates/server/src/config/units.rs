//! Sizes and durations as people write them: `256 KiB`, `10 MiB`, `90s`, `10m`, `30d`.

use std::time::Duration;

const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

const DURATIONS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a size such as `256 KiB`; the answer is in bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZES).ok_or_else(|| {
        format!(
            "{text:?} is not a size; write for example \"256 KiB\" (units: B, KiB, MiB, GiB, TiB)"
        )
    })
}

/// Reads a duration such as `10m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text, &DURATIONS)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!("{text:?} is not a duration; write for example \"10m\" (units: ms, s, m, h, d)")
        })
}

/// Writes a size in the largest unit that divides it.
pub(crate) fn show_size(bytes: u64) -> String {
    let (unit, factor) = largest_unit(bytes, &SIZES);
    format!("{} {unit}", bytes / factor)
}

/// Writes a duration in the largest unit that divides it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) = largest_unit(millis, &DURATIONS);
    format!("{}{unit}", millis / factor)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

fn largest_unit(value: u64, units: &[(&'static str, u64)]) -> (&'static str, u64) {
    let smallest = units
        .iter()
        .min_by_key(|(_, factor)| *factor)
        .copied()
        .unwrap_or(("", 1));
    // Nought divides by everything; "0 B" and "0ms" read better than "0 TiB" and "0d".
    let fitting = units
        .iter()
        .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    fitting.copied().unwrap_or(smallest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read_and_written_in_human_units() {
        for (text, bytes) in [
            ("0 B", 0),
            ("7 B", 7),
            ("256 KiB", 262_144),
            ("3 GiB", 3 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes));
            assert_eq!(show_size(bytes), text);
        }
        for (text, millis) in [
            ("0ms", 0),
            ("1500ms", 1_500),
            ("90s", 90_000),
            ("10m", 600_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(parse_size("1MiB"), Ok(1 << 20));
        assert_eq!(parse_duration("2 h"), Ok(Duration::from_secs(7_200)));
    }

    #[test]
    fn nonsense_units_signs_and_overflow_are_refused() {
        for text in [
            "",
            "12",
            "KiB",
            "-1 KiB",
            "1 kb",
            "1.5 MiB",
            "99999999999999 TiB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for text in ["", "10", "ten minutes", "-1s", "1w", "99999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
