//! The stream header: whom the client wants, and whether it speaks our language (RFC 6120 §4.7).

use super::{Host, Shared};
use crate::error::{StreamCondition, StreamError};
use crate::jid::{BareJid, Jid};
use crate::ns;
use crate::stream::output::OurHeader;
use crate::xml::{Element, OpenTag, StreamContext};

/// What a client's header says.
pub(super) struct StreamHeader {
    to: Option<Box<str>>,
    from: Option<Box<str>>,
    version: Option<Box<str>>,
    context: StreamContext,
}

impl StreamHeader {
    /// From the start tag of a TCP stream.
    pub(super) fn from_tag(tag: OpenTag) -> Result<StreamHeader, StreamError> {
        if &*tag.ns != ns::STREAM || tag.context.default_ns != ns::CLIENT {
            return Err(StreamCondition::InvalidNamespace.into());
        }
        if &*tag.name != "stream" {
            return Err(StreamCondition::BadFormat.into());
        }
        Ok(StreamHeader {
            to: tag.to,
            from: tag.from,
            version: tag.version,
            context: tag.context,
        })
    }

    /// From the `<open/>` of a WebSocket (RFC 7395 §3.4).
    pub(super) fn from_open(open: &Element) -> StreamHeader {
        let value = |name| open.attr(name).map(Box::from);
        StreamHeader {
            to: value("to"),
            from: value("from"),
            version: value("version"),
            context: StreamContext::framed(open.lang().map(Box::from)),
        }
    }
}

/// Takes over what the header says, or says what is wrong with it.
pub(super) fn check(shared: &mut Shared, header: StreamHeader) -> Result<(), StreamError> {
    // §4.7.5: no version is version 0.9, which had neither features nor SASL.
    let major = header
        .version
        .as_deref()
        .and_then(|version| version.split_once('.'));
    if !major.is_some_and(|(major, _)| major.parse::<u32>().is_ok_and(|major| major >= 1)) {
        return Err(StreamCondition::UnsupportedVersion.into());
    }
    let host = host(shared, header.to.as_deref())?;
    let from = from(header.from.as_deref(), &host)?;
    // The host was chosen before authentication and cannot change after it.
    if shared
        .host
        .as_ref()
        .is_some_and(|before| before.domain != host.domain)
    {
        return Err(StreamCondition::HostUnknown.into());
    }
    shared.host = Some(host);
    shared.from = from;
    shared.context = header.context;
    Ok(())
}

fn host(shared: &Shared, to: Option<&str>) -> Result<Host, StreamError> {
    let to = to.ok_or(StreamCondition::ImproperAddressing)?;
    let domain = BareJid::parse(to).map_err(|_| StreamCondition::HostUnknown)?;
    shared
        .policy
        .host(domain.as_str())
        .cloned()
        .ok_or(StreamError::new(StreamCondition::HostUnknown))
}

/// The client may say who it is (§4.7.1); XEP-0388 §2.1: at the host that it wants.
fn from(from: Option<&str>, host: &Host) -> Result<Option<BareJid>, StreamError> {
    let Some(from) = from else { return Ok(None) };
    match Jid::parse(from) {
        Ok(jid) if jid.domain() == host.domain.as_str() => Ok(Some(jid.to_bare())),
        Ok(_) | Err(_) => Err(StreamCondition::InvalidFrom.into()),
    }
}

/// Opens our side of the stream.
pub(super) fn send(shared: &mut Shared) {
    let id = shared.nonces.next();
    // A stream that is answered by an error needs a `from`, too: that of our first host.
    let domain = match &shared.host {
        Some(host) => host.domain.as_str(),
        None => shared
            .policy
            .hosts
            .first()
            .map_or("", |host| host.domain.as_str()),
    };
    let to = shared.from.as_ref().map(BareJid::as_str);
    shared.out.header(&OurHeader {
        id: Some(&id),
        from: domain,
        to,
    });
}

/// Opens our side of the stream if it is not open: an error has to stand in one (§4.9.1.2).
pub(super) fn ensure_sent(shared: &mut Shared) {
    if !shared.out.is_open() {
        send(shared);
    }
}
