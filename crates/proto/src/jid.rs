//! Addresses (RFC 7622): `local@domain/resource`, normalised once and compared as bytes ever after.
//!
//! A localpart is folded to lower case and composed by PRECIS (UsernameCaseMapped), a resourcepart composed
//! (OpaqueString), a domainpart mapped to its Unicode form in lower case by IDNA (UTS #46). Pure ASCII, which is nearly
//! everything, takes a short way. Left out: XEP-0106 escaping, which is a matter of user interfaces.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use precis_profiles::precis_core::Error as PrecisError;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use precis_profiles::{OpaqueString, UsernameCaseMapped};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// RFC 7622 §3.2 to §3.4: no part is longer than 1023 bytes.
pub const PART_BYTES: usize = 1023;

/// What DNS can name (RFC 1035 §2.3.4): a domain without its final dot, as text.
const DOMAIN_BYTES: usize = 253;

/// One label of a domain (RFC 1035 §2.3.4).
const LABEL_BYTES: usize = 63;

/// Why a string is not an address. The fault of whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JidError {
    /// The localpart is empty, too long or holds forbidden characters.
    #[error("bad localpart")]
    Local,
    /// The domainpart is missing, too long or no domain name.
    #[error("bad domainpart")]
    Domain,
    /// The resourcepart is empty, too long or holds forbidden characters.
    #[error("bad resourcepart")]
    Resource,
    /// A bare JID was expected, a full one came, or the other way round.
    #[error("a full JID where a bare one was expected, or the reverse")]
    Shape,
}

/// Any address: bare or full.
#[derive(Clone)]
pub struct Jid {
    text: Arc<str>,
    /// Bytes of the localpart; 0 if there is none.
    local: u16,
    /// Bytes before the `/`, or all of them.
    bare: u16,
}

/// `local@domain` or `domain`: an account, a room, a server.
#[derive(Clone)]
pub struct BareJid {
    text: Arc<str>,
    local: u16,
}

/// An address with a resource: a session, an occupant.
#[derive(Clone)]
pub struct FullJid {
    text: Arc<str>,
    local: u16,
    bare: u16,
}

impl Jid {
    /// Parses and normalises an address.
    ///
    /// # Errors
    /// A part is missing, too long or has characters it must not have.
    pub fn parse(text: &str) -> Result<Jid, JidError> {
        // RFC 7622 §3.2: first cut the resource at the first slash, then the localpart at the first `@`.
        let (bare, resource) = match text.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (text, None),
        };
        let (local, domain) = match bare.split_once('@') {
            Some((local, domain)) => (Some(local), domain),
            None => (None, bare),
        };
        let local = local.map(normalise_local).transpose()?;
        let domain = normalise_domain(domain)?;
        let resource = resource.map(normalise_resource).transpose()?;
        let is_normal = |part: &Option<Cow<'_, str>>| !matches!(part, Some(Cow::Owned(_)));
        if is_normal(&local)
            && is_normal(&resource)
            && matches!(domain, Cow::Borrowed(_))
            && !bare.ends_with('.')
        {
            // Nothing was changed, so the text is the address.
            let local = local.as_deref().map_or(0, length);
            return Ok(Jid {
                text: Arc::from(text),
                local,
                bare: length(bare),
            });
        }
        Ok(assemble(local.as_deref(), &domain, resource.as_deref()))
    }

    /// The address without its resource.
    pub fn to_bare(&self) -> BareJid {
        BareJid {
            text: part(&self.text, self.bare),
            local: self.local,
        }
    }

    /// The address as a full one, if it has a resource.
    pub fn as_full(&self) -> Option<FullJid> {
        let is_full = usize::from(self.bare) < self.text.len();
        is_full.then(|| FullJid {
            text: self.text.clone(),
            local: self.local,
            bare: self.bare,
        })
    }

    /// The address as a bare one, if it has no resource.
    pub fn as_bare(&self) -> Option<BareJid> {
        let is_bare = usize::from(self.bare) == self.text.len();
        is_bare.then(|| BareJid {
            text: self.text.clone(),
            local: self.local,
        })
    }

    /// Localpart.
    pub fn local(&self) -> Option<&str> {
        local(&self.text, self.local)
    }

    /// Domainpart.
    pub fn domain(&self) -> &str {
        domain(self.bare_str(), self.local)
    }

    /// Resourcepart.
    pub fn resource(&self) -> Option<&str> {
        self.text.get(usize::from(self.bare) + 1..)
    }

    /// The part before the resource, without making a new address.
    pub fn bare_str(&self) -> &str {
        &self.text[..usize::from(self.bare)]
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl BareJid {
    /// Parses and normalises a bare address.
    ///
    /// # Errors
    /// As [`Jid::parse`]; [`JidError::Shape`] if there is a resource.
    pub fn parse(text: &str) -> Result<BareJid, JidError> {
        Jid::parse(text)?.as_bare().ok_or(JidError::Shape)
    }

    /// Puts an address together from parts, which are normalised.
    ///
    /// # Errors
    /// A part is too long or has characters it must not have.
    pub fn new(local: Option<&str>, domain: &str) -> Result<BareJid, JidError> {
        let local = local.map(normalise_local).transpose()?;
        let domain = normalise_domain(domain)?;
        assemble(local.as_deref(), &domain, None)
            .as_bare()
            .ok_or(JidError::Shape)
    }

    /// The full address with this resource, which is normalised.
    ///
    /// # Errors
    /// The resource is empty, too long or has characters it must not have.
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        let resource = normalise_resource(resource)?;
        let jid = assemble(self.local(), self.domain(), Some(&resource));
        jid.as_full().ok_or(JidError::Shape)
    }

    /// The address of the domain alone.
    pub fn domain_jid(&self) -> BareJid {
        match self.local {
            0 => self.clone(),
            _ => BareJid {
                text: Arc::from(self.domain()),
                local: 0,
            },
        }
    }

    /// Localpart.
    pub fn local(&self) -> Option<&str> {
        local(&self.text, self.local)
    }

    /// Domainpart.
    pub fn domain(&self) -> &str {
        domain(&self.text, self.local)
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FullJid {
    /// Parses and normalises a full address.
    ///
    /// # Errors
    /// As [`Jid::parse`]; [`JidError::Shape`] if there is no resource.
    pub fn parse(text: &str) -> Result<FullJid, JidError> {
        Jid::parse(text)?.as_full().ok_or(JidError::Shape)
    }

    /// The address without its resource.
    pub fn to_bare(&self) -> BareJid {
        BareJid {
            text: part(&self.text, self.bare),
            local: self.local,
        }
    }

    /// Localpart.
    pub fn local(&self) -> Option<&str> {
        local(&self.text, self.local)
    }

    /// Domainpart.
    pub fn domain(&self) -> &str {
        domain(self.bare_str(), self.local)
    }

    /// Resourcepart.
    pub fn resource(&self) -> &str {
        &self.text[usize::from(self.bare) + 1..]
    }

    /// The part before the resource, without making a new address.
    pub fn bare_str(&self) -> &str {
        &self.text[..usize::from(self.bare)]
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<BareJid> for Jid {
    fn from(jid: BareJid) -> Jid {
        Jid {
            bare: length(&jid.text),
            text: jid.text,
            local: jid.local,
        }
    }
}

impl From<FullJid> for Jid {
    fn from(jid: FullJid) -> Jid {
        Jid {
            text: jid.text,
            local: jid.local,
            bare: jid.bare,
        }
    }
}

impl From<&BareJid> for Jid {
    fn from(jid: &BareJid) -> Jid {
        jid.clone().into()
    }
}

impl From<&FullJid> for Jid {
    fn from(jid: &FullJid) -> Jid {
        jid.clone().into()
    }
}

impl From<&Jid> for Jid {
    fn from(jid: &Jid) -> Jid {
        jid.clone()
    }
}

macro_rules! as_text {
    ($($name:ident)*) => { $(
        impl PartialEq for $name {
            fn eq(&self, other: &$name) -> bool {
                self.text == other.text
            }
        }
        impl Eq for $name {}
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &$name) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &$name) -> std::cmp::Ordering {
                self.text.cmp(&other.text)
            }
        }
        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.text.hash(state);
            }
        }
        // Equality, order and hash are those of the text, so maps can be asked with a `&str`.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.text
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
        impl FromStr for $name {
            type Err = JidError;
            fn from_str(text: &str) -> Result<$name, JidError> {
                $name::parse(text)
            }
        }
    )* };
}

as_text!(Jid BareJid FullJid);

fn assemble(local: Option<&str>, domain: &str, resource: Option<&str>) -> Jid {
    let size =
        local.map_or(0, |l| l.len() + 1) + domain.len() + resource.map_or(0, |r| r.len() + 1);
    let mut text = String::with_capacity(size);
    if let Some(local) = local {
        text.push_str(local);
        text.push('@');
    }
    text.push_str(domain);
    let bare = length(&text);
    if let Some(resource) = resource {
        text.push('/');
        text.push_str(resource);
    }
    Jid {
        text: text.into(),
        local: local.map_or(0, length),
        bare,
    }
}

/// Cannot truncate: three parts of at most [`PART_BYTES`].
fn length(text: &str) -> u16 {
    u16::try_from(text.len()).unwrap_or(u16::MAX)
}

fn part(text: &Arc<str>, end: u16) -> Arc<str> {
    match usize::from(end) {
        end if end == text.len() => text.clone(),
        end => Arc::from(&text[..end]),
    }
}

fn local(text: &str, length: u16) -> Option<&str> {
    (length > 0).then(|| &text[..usize::from(length)])
}

fn domain(bare: &str, local: u16) -> &str {
    match local {
        0 => bare,
        length => &bare[usize::from(length) + 1..],
    }
}

fn normalise_local(raw: &str) -> Result<Cow<'_, str>, JidError> {
    let local = if raw.bytes().all(|b| b.is_ascii_graphic()) {
        lower_case(raw)
    } else {
        stable(raw, |part| UsernameCaseMapped::enforce(part)).ok_or(JidError::Local)?
    };
    // RFC 7622 §3.3.1: what PRECIS would allow but XMPP does not.
    let excluded = |b: u8| matches!(b, b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@');
    if local.bytes().any(excluded) {
        return Err(JidError::Local);
    }
    sized(local, JidError::Local)
}

pub(crate) fn normalise_resource(raw: &str) -> Result<Cow<'_, str>, JidError> {
    let resource = if raw.bytes().all(|b| matches!(b, b' '..=b'~')) {
        Cow::Borrowed(raw)
    } else {
        stable(raw, |part| OpaqueString::enforce(part)).ok_or(JidError::Resource)?
    };
    // OpaqueString keeps it, but RFC 7622 §3.5 lists it among the addresses that are none.
    if resource.starts_with(' ') {
        return Err(JidError::Resource);
    }
    sized(resource, JidError::Resource)
}

/// Applies a PRECIS profile until it changes nothing any more (RFC 8264 §7): composing can bring about a character that
/// is allowed in fewer places than the one that was written (U+0387 becomes U+00B7, which stands only between two `l`).
fn stable<'t>(
    raw: &'t str,
    enforce: impl Fn(&str) -> Result<Cow<'_, str>, PrecisError>,
) -> Option<Cow<'t, str>> {
    /// "if the output string does not stabilize after reapplying the rules three (3) additional times", it is none.
    const ADDITIONAL: usize = 3;
    let mut part = Cow::Borrowed(raw);
    for _ in 0..=ADDITIONAL {
        let again = enforce(&part).ok()?;
        if again == part {
            return Some(part);
        }
        part = Cow::Owned(again.into_owned());
    }
    None
}

fn normalise_domain(raw: &str) -> Result<Cow<'_, str>, JidError> {
    // RFC 7622 §3.2: a final dot is not part of the domain.
    let raw = raw.strip_suffix('.').unwrap_or(raw);
    if let Some(literal) = raw.strip_prefix('[').and_then(|r| r.strip_suffix(']')) {
        let address: Ipv6Addr = literal.parse().map_err(|_| JidError::Domain)?;
        return Ok(Cow::Owned(format!("[{address}]")));
    }
    // An A-label (`xn--`) has to be shown as what it stands for.
    let domain = if raw.is_ascii() && !has_a_label(raw) {
        let lower = lower_case(raw);
        if !is_host_name(&lower) {
            return Err(JidError::Domain);
        }
        lower
    } else {
        international(raw)?
    };
    if is_numeric(&domain) && domain.parse::<Ipv4Addr>().is_err() {
        return Err(JidError::Domain);
    }
    sized(domain, JidError::Domain)
}

/// The Unicode form of a domain with labels beyond ASCII, which its ASCII form must be able to name in DNS.
fn international(raw: &str) -> Result<Cow<'static, str>, JidError> {
    let (unicode, result) =
        Uts46::new().to_unicode(raw.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    result.map_err(|_| JidError::Domain)?;
    // Mapping turns other full stops into ours.
    let unicode = unicode.strip_suffix('.').unwrap_or(&unicode);
    let ascii = Uts46::new()
        .to_ascii(
            unicode.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Verify,
        )
        .map_err(|_| JidError::Domain)?;
    if !is_host_name(&ascii) {
        return Err(JidError::Domain);
    }
    Ok(Cow::Owned(unicode.to_owned()))
}

fn has_a_label(domain: &str) -> bool {
    domain.split('.').any(|label| {
        label
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
    })
}

fn is_numeric(domain: &str) -> bool {
    domain.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Labels of letters, digits and inner hyphens, in the lengths of DNS (RFC 1123 §2.1).
fn is_host_name(domain: &str) -> bool {
    let mut label = 0;
    let mut before = b'.';
    for byte in domain.bytes() {
        match byte {
            b'.' if label == 0 || before == b'-' => return false,
            b'.' => label = 0,
            b'-' if label == 0 => return false,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' if label < LABEL_BYTES => label += 1,
            _ => return false,
        }
        before = byte;
    }
    domain.len() <= DOMAIN_BYTES && label > 0 && before != b'-'
}

fn lower_case(raw: &str) -> Cow<'_, str> {
    match raw.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(raw.to_ascii_lowercase()),
        false => Cow::Borrowed(raw),
    }
}

fn sized(part: Cow<'_, str>, error: JidError) -> Result<Cow<'_, str>, JidError> {
    match part.len() {
        1..=PART_BYTES => Ok(part),
        _ => Err(error),
    }
}
