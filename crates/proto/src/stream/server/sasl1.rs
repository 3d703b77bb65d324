//! The SASL profile of RFC 6120 §6, and the base64 that both profiles use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::login::Login;
use super::{Next, Shared, State, Turn};
use crate::ns;
use crate::sasl::{Condition, Failure, MAX_MESSAGE_BYTES};
use crate::xml::Element;

/// Reads `<auth/>`: the mechanism's name and the initial response.
pub(super) fn read_auth(auth: &Element) -> (String, Result<Option<Vec<u8>>, Failure>) {
    let name = auth.attr("mechanism").unwrap_or_default().to_owned();
    let initial = match auth.text().trim() {
        // No initial response; an empty one is `=` (§6.4.2).
        "" => Ok(None),
        "=" => Ok(Some(Vec::new())),
        text => decode(text).map(Some),
    };
    (name, initial)
}

/// Decodes a message.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, Failure> {
    let text = match text.trim() {
        "=" => "",
        text => text,
    };
    // Four characters carry three bytes.
    if text.len() / 4 * 3 > MAX_MESSAGE_BYTES {
        return Err(Failure::new(Condition::MalformedRequest, "too long"));
    }
    STANDARD
        .decode(text)
        .map_err(|_| Failure::new(Condition::IncorrectEncoding, ""))
}

/// Encodes a message as an element's text.
pub(super) fn encode_text(message: &[u8]) -> String {
    STANDARD.encode(message)
}

/// The client is in; its next stream is an authenticated one (§6.4.6).
pub(super) fn succeed(shared: &mut Shared, login: Login, proof: Option<Vec<u8>>) -> Turn {
    let mut success = Element::new("success", ns::SASL);
    if let Some(proof) = proof {
        success.push_text(&encode_text(&proof));
    }
    shared.out.element(&success);
    shared.out.restart();
    Ok((State::Header(Some(login)), Next::Restart))
}
