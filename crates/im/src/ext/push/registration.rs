//! What is known of a node of a push service that an account publishes to.

use bytes::Bytes;
use posthaste_kv::{Batch, Kv, Partition, Scan};
use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::xml::Element;

use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::home::{Attendee, HomeState};
use crate::tables;

/// Nodes of one account; the oldest makes room. More than its devices, since an app may use two.
pub const MAX_REGISTRATIONS: usize = 40;
/// Bytes of publish options: a secret or a few.
pub const MAX_OPTIONS_BYTES: usize = 4096;

const VERSION: u8 = 1;

/// Whom a notification wakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A client that names its installation.
    Device(Box<str>),
    /// One that does not: the resource that it had when it asked.
    Resource(Box<str>),
}

impl Owner {
    /// The owner that a session stands for.
    pub fn of(attendee: &Attendee) -> Owner {
        match &attendee.client {
            Some(client) => Owner::Device(client.clone()),
            None => Owner::Resource(attendee.session.jid.resource().into()),
        }
    }

    /// Is this its session?
    pub fn has(&self, attendee: &Attendee) -> bool {
        match self {
            Owner::Device(id) => attendee.client.as_deref() == Some(&**id),
            Owner::Resource(resource) => attendee.session.jid.resource() == &**resource,
        }
    }
}

/// One node of a push service that a client has enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The push service.
    pub service: Jid,
    /// Its node; empty if it needs none.
    pub node: Box<str>,
    /// The publish options, as XML.
    pub options: Option<Box<[u8]>>,
    /// Whom it wakes.
    pub owner: Owner,
    /// When it was enabled last.
    pub since: Timestamp,
    /// Errors in a row.
    pub failures: u32,
    /// Names it in the ids of requests, so that an answer finds it also after a restart.
    pub tag: Box<str>,
    /// What is under way; not stored.
    pub run: Run,
}

/// The state of a registration between two notifications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// When the request was sent that is not answered yet.
    pub asked_at: Option<Timestamp>,
    /// When the last request was sent.
    pub pushed_at: Timestamp,
    /// When to look whether there is something to push.
    pub due: Option<Timestamp>,
    /// The last message, as far as the operator lets it be told.
    pub last: Option<Box<Last>>,
}

/// The last message that weighed a notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// Who sent it.
    pub sender: Option<Jid>,
    /// Its text, shortened.
    pub body: Option<String>,
}

impl Registration {
    /// Is it this node of this service?
    pub fn is(&self, service: &Jid, node: &str) -> bool {
        self.service == *service && *self.node == *node
    }

    /// The id of a request made now.
    pub fn request_id(&self, now: Timestamp) -> String {
        format!("push-{}-{:x}", self.tag, now.millis())
    }

    /// Is this the id of a request made for it?
    pub fn has_asked(&self, id: &str) -> bool {
        let tagged = id.strip_prefix("push-").and_then(|id| id.split_once('-'));
        tagged.is_some_and(|(tag, _)| tag == &*self.tag)
    }

    /// The options as they are to be published.
    pub fn options_element(&self) -> Option<Element> {
        let xml = self.options.as_deref()?;
        // It was an element when it was stored; without its options the service will refuse the request.
        Element::parse(xml, ns::CLIENT).ok()
    }

    /// Its key.
    pub fn key(&self) -> Bytes {
        // No JID and no attribute holds a NUL, so that the two parts cannot be mistaken.
        tables::text_key(tables::PUSH, &format!("{}\0{}", self.service, self.node))
    }

    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let options = self.options.as_deref().unwrap_or_default();
        let (kind, owner) = match &self.owner {
            Owner::Device(id) => (1, id),
            Owner::Resource(resource) => (2, resource),
        };
        let mut writer = Writer::new(VERSION, 96 + self.node.len() + options.len());
        writer
            .text(self.service.as_str())
            .text(&self.node)
            .u8(kind)
            .text(owner)
            .text(&self.tag)
            .u64(self.since.millis())
            .u32(self.failures)
            .bytes(options);
        writer.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(value: Bytes) -> Result<Registration, Corrupt> {
        let (_, mut reader) = Reader::open("push registration", value, VERSION)?;
        let (service, node) = (reader.text()?, reader.text()?);
        let service =
            Jid::parse(&service).map_err(|_| reader.corrupt("its service is no address"))?;
        let owner = match (reader.u8()?, reader.text()?.into()) {
            (1, id) => Owner::Device(id),
            (2, resource) => Owner::Resource(resource),
            _ => return Err(reader.corrupt("its owner is of no known kind")),
        };
        let tag = reader.text()?.into();
        let (since, failures) = (Timestamp(reader.u64()?), reader.u32()?);
        let options = reader.bytes()?;
        reader.end()?;
        Ok(Registration {
            service,
            node: node.into(),
            options: (!options.is_empty()).then(|| options.as_ref().into()),
            owner,
            since,
            failures,
            tag,
            run: Run::default(),
        })
    }
}

/// The registrations of a home, oldest first.
///
/// # Errors
/// The store's, or one cannot be read.
pub async fn load(kv: &dyn Kv, partition: &Partition) -> Result<Vec<Registration>, WalkError> {
    let rows = kv
        .scan(partition, Scan::prefix(tables::PUSH, MAX_REGISTRATIONS))
        .await?;
    let mut registrations = Vec::with_capacity(rows.len());
    for (_, value) in rows {
        registrations.push(Registration::decode(value)?);
    }
    registrations.sort_by_key(|registration| registration.since);
    Ok(registrations)
}

/// A device is gone for good, and nobody is to be woken.
pub fn forget_device(state: &mut HomeState, id: &str, batch: &mut Batch) {
    state.push.retain(|registration| {
        let is_its = matches!(&registration.owner, Owner::Device(owner) if **owner == *id);
        if is_its {
            batch.delete(registration.key());
        }
        !is_its
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_registration_looks_like_this() {
        let registration = Registration {
            service: Jid::parse("push.example").unwrap(),
            node: "n".into(),
            options: Some(b"<x/>".as_slice().into()),
            owner: Owner::Device("d".into()),
            since: Timestamp(1),
            failures: 2,
            tag: "t".into(),
            run: Run::default(),
        };
        assert_eq!(
            &registration.encode()[..],
            b"\x01\0\0\0\x0cpush.example\0\0\0\x01n\x01\0\0\0\x01d\0\0\0\x01t\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x04<x/>"
        );
        assert_eq!(
            Registration::decode(registration.encode()).unwrap(),
            registration
        );
        assert_eq!(&registration.key()[..], b"push/push.example\0n");
        let id = registration.request_id(Timestamp(77));
        assert!(registration.has_asked(&id) && !registration.has_asked("push-u-4d"));
    }
}
