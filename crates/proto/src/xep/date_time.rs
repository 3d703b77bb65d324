//! Moments as XMPP writes them.
//!
//! XEP-0082 1.1 §3.2, the DateTime profile. The short forms without date or time are left out.

const DAY_MILLIS: i64 = 86_400_000;

/// Milliseconds from 1970-01-01T00:00:00Z to a DateTime such as `2002-09-10T23:41:07.25Z` or
/// `2002-09-10T23:41:07-05:00`; moments before it are 0. `None` if it is none. Finer fractions are cut off.
pub fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once('T')?;
    let (year, month, day) = date_parts(date)?;
    let (time, offset_minutes) = split_zone(rest)?;
    let in_day = time_millis(time)?;
    let days = days_from_civil(year, month, day);
    let millis = days * DAY_MILLIS + in_day - offset_minutes * 60_000;
    Some(u64::try_from(millis).unwrap_or(0))
}

/// A number of exactly so many digits, at most `most`.
fn number(text: &str, digits: usize, most: i64) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse::<i64>().ok())??;
    (number <= most).then_some(number)
}

fn date_parts(date: &str) -> Option<(i64, i64, i64)> {
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4, 9999)?;
    let month = number(parts.next()?, 2, 12).filter(|month| *month > 0)?;
    let day = number(parts.next()?, 2, days_in(year, month)).filter(|day| *day > 0)?;
    parts.next().is_none().then_some((year, month, day))
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The time, and by how many minutes it is ahead of UTC.
fn split_zone(rest: &str) -> Option<(&str, i64)> {
    if let Some(time) = rest.strip_suffix('Z') {
        return Some((time, 0));
    }
    let at = rest.rfind(['+', '-'])?;
    let (hours, minutes) = rest[at + 1..].split_once(':')?;
    let minutes = number(hours, 2, 23)? * 60 + number(minutes, 2, 59)?;
    let sign = if rest[at..].starts_with('-') { -1 } else { 1 };
    Some((&rest[..at], sign * minutes))
}

fn time_millis(time: &str) -> Option<i64> {
    let (whole, fraction) = match time.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (time, None),
    };
    let mut parts = whole.split(':');
    let hours = number(parts.next()?, 2, 23)?;
    let minutes = number(parts.next()?, 2, 59)?;
    // 60 is a leap second.
    let seconds = number(parts.next()?, 2, 60)?;
    if parts.next().is_some() {
        return None;
    }
    let millis = match fraction {
        None => 0,
        Some(digits) if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            return None;
        }
        Some(digits) => format!("{digits:0<3.3}").parse::<i64>().ok()?,
    };
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are taken to start in March, so that the leap day is
/// the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn moments_are_read_as_xep_0082_writes_them() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-07-21T02:56:15Z", 0),
            ("2000-02-29T00:00:00.000Z", 951_782_400_000),
            ("2000-03-01T00:59:59.9999+01:00", 951_868_799_999),
            ("2026-11-22T09:08:07.006Z", 1_795_338_487_006),
            ("2026-11-22T04:08:07-05:00", 1_795_338_487_000),
            ("2026-11-22T09:08:07.2Z", 1_795_338_487_200),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
        ] {
            assert_eq!(parse(text), Some(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-11-22",
            "2026-11-22T09:08:07",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T09:08:07.Z",
            "2026-11-22T09:08:07+5:00",
            "2026-11-22T09:08:07.é00Z",
            "20026-11-22T09:08:07Z",
            "2026-11-22T09:08Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
