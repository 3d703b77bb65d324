//! The grammar of RFC 5802 §7: reading and writing SCRAM's four messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::sasl::{Failure, MAX_MESSAGE_BYTES};

/// The GS2 flag: what the client says about channel binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BindingFlag<'a> {
    /// `n`: the client does not support it.
    Unsupported,
    /// `y`: the client does, but thinks that the server does not.
    NotOffered,
    /// `p=<type>`: used.
    Used(&'a str),
}

#[derive(Debug)]
pub(super) struct ClientFirst<'a> {
    pub(super) flag: BindingFlag<'a>,
    pub(super) authzid: Option<String>,
    /// The GS2 header verbatim with its last comma: the beginning of the channel binding input.
    pub(super) gs2_header: &'a str,
    /// client-first-message-bare verbatim.
    pub(super) bare: &'a str,
    pub(super) username: String,
    pub(super) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<ClientFirst<'a>, Failure> {
        let text = text(message)?;
        let (flag, rest) = split_comma(text)?;
        let flag = match flag {
            "n" => BindingFlag::Unsupported,
            "y" => BindingFlag::NotOffered,
            _ => BindingFlag::Used(
                attribute(flag, 'p')
                    .filter(|name| !name.is_empty())
                    .ok_or(BAD_GS2)?,
            ),
        };
        let (authzid, bare) = split_comma(rest)?;
        let authzid = match authzid {
            "" => None,
            _ => Some(unescape(attribute(authzid, 'a').ok_or(BAD_GS2)?)?),
        };
        // A mandatory extension (`m=`) that we do not know must fail (§5.1); it is not `n=`.
        let mut attributes = bare.split(',');
        let username = attributes
            .next()
            .and_then(|a| attribute(a, 'n'))
            .ok_or(BAD_FIRST)?;
        let nonce = attributes
            .next()
            .and_then(|a| attribute(a, 'r'))
            .ok_or(BAD_FIRST)?;
        check_nonce(nonce)?;
        check_extensions(attributes)?;
        Ok(ClientFirst {
            flag,
            authzid,
            gs2_header: &text[..text.len() - bare.len()],
            bare,
            username: unescape(username)?,
            nonce,
        })
    }
}

#[derive(Debug)]
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
    /// XEP-0474's attribute `h`.
    pub(super) downgrade_hash: Option<&'a str>,
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<ServerFirst<'a>, Failure> {
        let mut attributes = text(message)?.split(',');
        let nonce = attributes
            .next()
            .and_then(|a| attribute(a, 'r'))
            .ok_or(BAD_SERVER_FIRST)?;
        let salt = attributes
            .next()
            .and_then(|a| attribute(a, 's'))
            .ok_or(BAD_SERVER_FIRST)?;
        let iterations = attributes
            .next()
            .and_then(|a| attribute(a, 'i'))
            .ok_or(BAD_SERVER_FIRST)?;
        check_nonce(nonce)?;
        let downgrade_hash = attributes.clone().find_map(|a| attribute(a, 'h'));
        check_extensions(attributes)?;
        let salt = STANDARD.decode(salt).map_err(|_| BAD_SERVER_FIRST)?;
        if salt.is_empty() {
            return Err(BAD_SERVER_FIRST);
        }
        Ok(ServerFirst {
            nonce,
            salt,
            iterations: iterations.parse().map_err(|_| BAD_SERVER_FIRST)?,
            downgrade_hash,
        })
    }

    pub(super) fn write(&self) -> String {
        let mut text = format!(
            "r={},s={},i={}",
            self.nonce,
            STANDARD.encode(&self.salt),
            self.iterations
        );
        if let Some(hash) = self.downgrade_hash {
            text.push_str(",h=");
            text.push_str(hash);
        }
        text
    }
}

#[derive(Debug)]
pub(super) struct ClientFinal<'a> {
    /// The decoded channel binding input: GS2 header and data.
    pub(super) channel_input: Vec<u8>,
    pub(super) nonce: &'a str,
    /// client-final-message-without-proof verbatim.
    pub(super) without_proof: &'a str,
    pub(super) proof: Vec<u8>,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<ClientFinal<'a>, Failure> {
        let text = text(message)?;
        // The proof comes last (§7); no value contains a comma.
        let (without_proof, last) = text.rsplit_once(',').ok_or(BAD_FINAL)?;
        let proof = attribute(last, 'p').ok_or(BAD_FINAL)?;
        let mut attributes = without_proof.split(',');
        let channel = attributes
            .next()
            .and_then(|a| attribute(a, 'c'))
            .ok_or(BAD_FINAL)?;
        let nonce = attributes
            .next()
            .and_then(|a| attribute(a, 'r'))
            .ok_or(BAD_FINAL)?;
        check_nonce(nonce)?;
        check_extensions(attributes)?;
        Ok(ClientFinal {
            channel_input: STANDARD.decode(channel).map_err(|_| BAD_FINAL)?,
            nonce,
            without_proof,
            proof: STANDARD.decode(proof).map_err(|_| BAD_FINAL)?,
        })
    }
}

/// server-final-message: the server's signature, or its error.
pub(super) fn parse_server_final(message: &[u8]) -> Result<Vec<u8>, Failure> {
    let text = text(message)?;
    let verifier = text.split(',').next().and_then(|a| attribute(a, 'v'));
    STANDARD
        .decode(verifier.ok_or(BAD_SERVER_FINAL)?)
        .map_err(|_| BAD_SERVER_FINAL)
}

const BAD_GS2: Failure = Failure::malformed("GS2 header");
const BAD_FIRST: Failure = Failure::malformed("client-first-message");
const BAD_FINAL: Failure = Failure::malformed("client-final-message");
const BAD_SERVER_FIRST: Failure = Failure::malformed("server-first-message");
const BAD_SERVER_FINAL: Failure = Failure::malformed("server-final-message");

fn text(message: &[u8]) -> Result<&str, Failure> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(Failure::malformed("too long"));
    }
    std::str::from_utf8(message).map_err(|_| Failure::malformed("not UTF-8"))
}

fn split_comma(text: &str) -> Result<(&str, &str), Failure> {
    text.split_once(',').ok_or(BAD_GS2)
}

/// The value of `name=value`.
fn attribute(text: &str, name: char) -> Option<&str> {
    text.strip_prefix(name)?.strip_prefix('=')
}

/// printable = %x21-2B / %x2D-7E (§7); the comma is excluded by splitting.
fn check_nonce(nonce: &str) -> Result<(), Failure> {
    if nonce.is_empty() || !nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Err(Failure::malformed("nonce"));
    }
    Ok(())
}

/// Optional extensions are `letter=value` and are ignored; `m=` may not be (§5.1).
fn check_extensions<'a>(extensions: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    for extension in extensions {
        match extension.as_bytes() {
            [b'm', b'=', ..] => return Err(Failure::malformed("unknown mandatory extension")),
            [letter, b'=', _, ..] if letter.is_ascii_alphabetic() => {}
            _ => return Err(Failure::malformed("extension")),
        }
    }
    Ok(())
}

/// A saslname: `=2C` is a comma, `=3D` an equals sign, any other `=` an error (§5.1).
fn unescape(saslname: &str) -> Result<String, Failure> {
    let mut parts = saslname.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match part.as_bytes() {
            [b'2', b'C', ..] => (',', &part[2..]),
            [b'3', b'D', ..] => ('=', &part[2..]),
            _ => return Err(Failure::malformed("escape in a name")),
        };
        name.push(character);
        name.push_str(rest);
    }
    if name.is_empty() || name.contains('\0') {
        return Err(Failure::malformed("name"));
    }
    Ok(name)
}

pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}
