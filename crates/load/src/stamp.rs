//! Timestamps that travel in message bodies, so that latency is from the moment a message should have been sent.

use std::time::Instant;

use memchr::memmem::Finder;

/// Digits of a stamp: microseconds since the run began, enough for eleven days.
const DIGITS: usize = 12;

const BODY: &[u8] = b"<body>";

/// The clock of one run.
pub(crate) struct Clock {
    origin: Instant,
    body: Finder<'static>,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock {
            origin: Instant::now(),
            body: Finder::new(BODY),
        }
    }

    /// Microseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// The stamp of an instant.
    pub(crate) fn at(&self, instant: Instant) -> u64 {
        instant
            .saturating_duration_since(self.origin)
            .as_micros()
            .try_into()
            .unwrap_or(u64::MAX)
    }

    /// The stamp in a received message, if it is one of ours.
    pub(crate) fn stamp_in(&self, message: &[u8]) -> Option<u64> {
        let start = self.body.find(message)? + BODY.len();
        message
            .get(start..start + DIGITS)?
            .iter()
            .try_fold(0, |sum, digit| {
                digit
                    .is_ascii_digit()
                    .then(|| sum * 10 + u64::from(digit - b'0'))
            })
    }
}

/// Appends a stamp as decimal digits.
fn write_stamp(out: &mut Vec<u8>, mut stamp: u64) {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        // A remainder by ten fits into any integer.
        *digit = b'0' + (stamp % 10) as u8;
        stamp /= 10;
    }
    out.extend_from_slice(&digits);
}

/// A message to one peer or room, rendered once but for its stamp.
pub(crate) struct MessageForm {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl MessageForm {
    /// A chat message to `to` (already escaped) whose body is `body_bytes` long, stamp included.
    pub(crate) fn new(to: &str, body_bytes: usize) -> MessageForm {
        MessageForm::of_type("chat", to, body_bytes)
    }

    /// As [`MessageForm::new`], of another type.
    pub(crate) fn of_type(kind: &str, to: &str, body_bytes: usize) -> MessageForm {
        let mut tail = vec![b'.'; body_bytes.saturating_sub(DIGITS)];
        tail.extend_from_slice(b"</body></message>");
        MessageForm {
            head: format!("<message to='{to}' type='{kind}' id='").into_bytes(),
            tail,
        }
    }

    /// Appends one message. Its id is its stamp and number, so that no two of a sender are alike.
    pub(crate) fn write(&self, out: &mut Vec<u8>, stamp: u64, number: u64) {
        out.extend_from_slice(&self.head);
        write_stamp(out, stamp);
        out.push(b'-');
        write_stamp(out, number);
        out.extend_from_slice(b"'>");
        out.extend_from_slice(BODY);
        write_stamp(out, stamp);
        out.extend_from_slice(&self.tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_from_its_message() {
        let mut out = Vec::new();
        MessageForm::new("a@b", 40).write(&mut out, 1_234_567, 8);
        assert_eq!(Clock::start().stamp_in(&out), Some(1_234_567));
        let text = String::from_utf8(out).unwrap();
        let body = text
            .split("<body>")
            .nth(1)
            .unwrap()
            .split("</body>")
            .next()
            .unwrap();
        assert_eq!(body.len(), 40);
    }

    #[test]
    fn foreign_bodies_have_no_stamp() {
        let clock = Clock::start();
        assert_eq!(
            clock.stamp_in(b"<message><body>Wherefore art</body></message>"),
            None
        );
        assert_eq!(clock.stamp_in(b"<message><body>12"), None);
        assert_eq!(clock.stamp_in(b"<message/>"), None);
    }
}
