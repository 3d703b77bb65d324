//! How far an occupant has come with entering or leaving its room (XEP-0045 §7).

use std::time::Duration;

use memchr::memmem;
use tokio::time::Instant;

/// What an occupant waits for.
pub(super) enum Standing {
    /// Nothing: it is in the room, or was never there.
    Settled,
    /// It has asked to enter.
    Entering {
        since: Instant,
        /// Has it got its own presence (status 110)?
        present: bool,
        /// Did its presence make the room (status 201)?
        made: bool,
    },
    /// It has made the room, so long after asking, and has sent its configuration.
    Configuring(Duration),
    Leaving,
}

/// What a stanza meant to an occupant.
pub(super) enum Heard {
    Nothing,
    /// It is in the room, so long after asking.
    Entered {
        took: Duration,
        made: bool,
    },
    Configured(Duration),
    Left,
    Refused(String),
}

impl Standing {
    pub(super) fn entering() -> Standing {
        Standing::Entering {
            since: Instant::now(),
            present: false,
            made: false,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Standing::Settled)
    }

    /// Takes a stanza in. What it means is told by a few words: a load generator trusts its server.
    pub(super) fn hear(&mut self, xml: &[u8]) -> Heard {
        if is_error(xml) {
            *self = Standing::Settled;
            return Heard::Refused(String::from_utf8_lossy(xml).into_owned());
        }
        let has = |words: &[&[u8]]| words.iter().any(|word| memmem::find(xml, word).is_some());
        let is_own = xml.starts_with(b"<presence") && has(&[b"code='110'", b"code=\"110\""]);
        let heard = match self {
            Standing::Settled => Heard::Nothing,
            Standing::Entering { present, made, .. } if is_own => {
                *present = true;
                *made = has(&[b"code='201'", b"code=\"201\""]);
                Heard::Nothing
            }
            Standing::Entering {
                since,
                present: true,
                made,
            } if xml.starts_with(b"<message") && has(&[b"<subject"]) => Heard::Entered {
                took: since.elapsed(),
                made: *made,
            },
            Standing::Configuring(took) if xml.starts_with(b"<iq") => Heard::Configured(*took),
            Standing::Leaving if is_own => Heard::Left,
            Standing::Entering { .. } | Standing::Configuring(_) | Standing::Leaving => {
                Heard::Nothing
            }
        };
        if !matches!(heard, Heard::Nothing) {
            *self = Standing::Settled;
        }
        heard
    }
}

/// Whether the root tag says that this is an error.
fn is_error(xml: &[u8]) -> bool {
    let root = xml.split(|byte| *byte == b'>').next().unwrap_or_default();
    memmem::find(root, b"type='error'").is_some() || memmem::find(root, b"type=\"error\"").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(standing: &mut Standing, xml: &str) -> Heard {
        standing.hear(xml.as_bytes())
    }

    #[test]
    fn an_occupant_has_entered_with_its_own_presence_and_the_subject() {
        let mut standing = Standing::entering();
        let other = "<presence from='r@c/other'><x><item role='participant'/></x></presence>";
        let own = "<presence from='r@c/me'><x><status code=\"201\"/><status code=\"110\"/></x></presence>";
        let subject = "<message type='groupchat'><subject/></message>";
        assert!(matches!(hear(&mut standing, other), Heard::Nothing));
        assert!(matches!(hear(&mut standing, subject), Heard::Nothing));
        assert!(matches!(hear(&mut standing, own), Heard::Nothing));
        let heard = hear(&mut standing, subject);
        assert!(matches!(heard, Heard::Entered { made: true, .. }));
        assert!(standing.is_settled());
    }

    #[test]
    fn a_refusal_is_told() {
        let mut standing = Standing::entering();
        let refusal = "<presence from='r@c/me' type='error'><error type='auth'/></presence>";
        assert!(matches!(hear(&mut standing, refusal), Heard::Refused(_)));
    }

    #[test]
    fn an_occupant_has_left_with_its_own_presence() {
        let mut standing = Standing::Leaving;
        let other = "<presence from='r@c/other' type='unavailable'/>";
        let own =
            "<presence from='r@c/me' type='unavailable'><x><status code='110'/></x></presence>";
        assert!(matches!(hear(&mut standing, other), Heard::Nothing));
        assert!(matches!(hear(&mut standing, own), Heard::Left));
    }
}
