//! A part of a file (RFC 9110 §14). Several parts in one request are not told apart: then the whole is served, which
//! §14.2 allows.

use std::ops::Range;

/// What a request asks for of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: nothing else was asked for, or nothing that can be understood.
    Whole,
    /// These bytes; not empty.
    Bytes(Range<u64>),
    /// What lies behind its end.
    Unsatisfiable,
}

impl Part {
    /// What `range`, the value of a `Range` field, says of a file of `size` bytes.
    pub(crate) fn of(range: &str, size: u64) -> Part {
        let bounds = range
            .trim()
            .split_once('=')
            .filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"))
            .and_then(|(_, range)| range.trim().split_once('-'));
        let Some((first, last)) = bounds else {
            return Part::Whole;
        };
        match (number(first), number(last)) {
            (Some(first), Some(last)) if last >= first => part(first, last.saturating_add(1), size),
            (Some(first), None) if last.is_empty() => part(first, size, size),
            // §14.1.2: so many of the last bytes.
            (None, Some(length)) if first.is_empty() => {
                part(size.saturating_sub(length), size, size)
            }
            _ => Part::Whole,
        }
    }
}

fn part(first: u64, end: u64, size: u64) -> Part {
    let range = first..end.min(size);
    if range.is_empty() {
        Part::Unsatisfiable
    } else {
        Part::Bytes(range)
    }
}

/// Digits only: `u64::from_str` takes a sign too.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number past every file is one, whatever its length.
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_file_of_ten_bytes() {
        let table = [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=2-5", Part::Bytes(2..6)),
            ("bytes=2-", Part::Bytes(2..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-30", Part::Bytes(0..10)),
            ("bytes=9-99999999999999999999999", Part::Bytes(9..10)),
            ("Bytes = 1-1", Part::Bytes(1..2)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=10-12", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=5-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("pages=1-2", Part::Whole),
            ("", Part::Whole),
        ];
        for (range, expected) in table {
            assert_eq!(Part::of(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn an_empty_file_has_no_part() {
        assert_eq!(Part::of("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(Part::of("bytes=-1", 0), Part::Unsatisfiable);
    }
}
