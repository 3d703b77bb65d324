//! Whoever has the address of a picture can ask how it looks before they fetch it, and put that into the message by
//! which they send it.
//!
//! `docs/protocol/media.md` §4, with what exists: XEP-0446 (version 0.2.0) says what the file is, XEP-0264 (0.4.2) shows
//! it small, XEP-0231 (1.1) carries the smallest form inside the answer. The pictures are made by whoever has the bytes
//! ([`crate::media::Painter`]). Encrypted files are bytes like any others: what is said of them is their size and hash.

use posthaste_kv::Ticket;
use posthaste_proto::error::StanzaError;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, Stanza};
use posthaste_proto::xep::bits_of_binary::Bits;
use posthaste_proto::xep::file_metadata::{FileMetadata, Hash};
use posthaste_proto::xep::thumbnails::Thumbnail;
use posthaste_proto::xml::Element;

use super::Ext;
use super::elsewhere::named;
use crate::error::WalkError;
use crate::media::{self, File, FileId, LedgerError, Order, Picture, Preview};
use crate::node::Node;
use crate::router::Envelope;

/// What a file is.
pub const EXT: Ext = named("File metadata element", 446, "0.2.0");
/// How it looks.
pub const THUMBNAILS_EXT: Ext = named("Jingle Content Thumbnails", 264, "0.4.2");
/// What it looks like inside a message.
pub const BITS_EXT: Ext = named("Bits of Binary", 231, "1.1");

/// What the upload service announces because of it, where somebody makes previews.
const FEATURE: &str = "urn:posthaste:media:0#preview";

/// The last segment of the address at which a file's thumbnail is, in place of the file's name.
pub const SEGMENT: &str = "preview";
/// How long, in seconds, the smallest form is worth keeping: it never becomes another one.
const TINY_AGE: u32 = 86_400;

/// What a request is about.
struct Subject {
    id: FileId,
    /// The address of the file, without its name.
    place: String,
    url: String,
}

impl Subject {
    fn of(node: &Node, request: &Stanza) -> Result<Subject, WalkError> {
        let config = node.config();
        let to = request.to.as_ref();
        let to = to.filter(|to| to.local().is_none() && to.resource().is_none());
        let host = to.and_then(|to| config.service(to.domain()));
        let base = host.and_then(|(host, _)| host.media_base.as_deref());
        let base = base.ok_or_else(StanzaError::service_unavailable)?;
        let payload = request.payload()?;
        let url = payload.attr("url").ok_or_else(StanzaError::bad_request)?;
        // An `aesgcm:` address (XEP-0454) is none of ours: what is behind it only its readers can see.
        let id = media::file_in(base, url).ok_or_else(StanzaError::item_not_found)?;
        Ok(Subject {
            place: format!("{base}{}/{id}", media::PATH),
            url: url.to_owned(),
            id,
        })
    }
}

/// What the upload service announces because of it.
pub(super) fn feature(node: &Node) -> Option<&'static str> {
    node.painter.get().map(|_| FEATURE)
}

/// Is it a request for a preview?
pub(super) fn is_asked(stanza: &Stanza) -> bool {
    stanza.kind == Kind::Iq(IqType::Get) && stanza.child("preview", ns::MEDIA).is_some()
}

/// Such a request to the upload service: answered from what is kept, or when the picture has been looked at.
///
/// # Errors
/// There is no such file here, or too much to do; or the store's.
pub(super) async fn receive(
    node: &Node,
    request: Stanza,
) -> Result<(Ticket, Vec<Envelope>), (Stanza, WalkError)> {
    match ask(node, &request).await {
        Ok(payload) => {
            let result = payload.map(|payload| request.result(Some(payload)));
            let out = result.map(Envelope::new).into_iter().collect();
            Ok((Ticket::DURABLE, out))
        }
        Err(error) => Err((request, error)),
    }
}

/// The answer; `None` if somebody looks at the picture first.
async fn ask(node: &Node, request: &Stanza) -> Result<Option<Element>, WalkError> {
    let subject = Subject::of(node, request)?;
    let file = find(node, &subject).await?;
    let kept = media::preview(node, &subject.id).await;
    if let Some(preview) = kept.map_err(refusal)? {
        return Ok(Some(shown(&subject, &file, &preview)));
    }
    let order = Order {
        file: subject.id,
        request: request.clone(),
    };
    match node.painter.get() {
        Some(painter) => match painter.take(order) {
            Ok(()) => Ok(None),
            Err(refused) => Err(refused.1.into()),
        },
        None => Err(StanzaError::service_unavailable().into()),
    }
}

async fn find(node: &Node, subject: &Subject) -> Result<File, WalkError> {
    let file = media::file(node, &subject.id).await.map_err(refusal)?;
    Ok(file.ok_or_else(StanzaError::item_not_found)?)
}

fn refusal(error: LedgerError) -> WalkError {
    match error {
        LedgerError::Store(error) => error,
        // Reading finds nothing else.
        _ => StanzaError::item_not_found().into(),
    }
}

impl Node {
    /// Whoever waits for the order is told how the file looks, or why that cannot be said.
    pub async fn previewed(&self, order: Order, outcome: Result<Preview, StanzaError>) {
        let answer = match outcome {
            Ok(preview) => answer(self, &order, &preview).await,
            Err(error) => Err(error.into()),
        };
        let out = match answer {
            Ok(payload) => vec![Envelope::new(order.request.result(Some(payload)))],
            Err(error) => self.refuse(&order.request, error),
        };
        self.route(out).await;
    }
}

async fn answer(node: &Node, order: &Order, preview: &Preview) -> Result<Element, WalkError> {
    let subject = Subject::of(node, &order.request)?;
    // It may have been removed while it was looked at.
    let file = find(node, &subject).await?;
    Ok(shown(&subject, &file, preview))
}

fn shown(subject: &Subject, file: &File, preview: &Preview) -> Element {
    let picture = preview.picture();
    let declared = Some(file.content_type.clone()).filter(|kind| !kind.is_empty());
    let metadata = FileMetadata {
        media_type: picture.map_or(declared, |it| Some(it.kind.media_type().to_owned())),
        name: Some(file.name.clone()),
        size: Some(file.size),
        width: picture.map(|it| it.width),
        height: picture.map(|it| it.height),
        hashes: vec![Hash {
            algorithm: "sha-256".to_owned(),
            value: file.digest.to_vec(),
        }],
        thumbnails: picture
            .map(|it| thumbnails(subject, file, it))
            .unwrap_or_default(),
    };
    let tiny = picture.map(|it| bits(it).to_element());
    Element::new("preview", ns::MEDIA)
        .with_attr("url", &*subject.url)
        .with_child(metadata.to_element())
        .with_children(tiny)
}

fn bits(picture: &Picture) -> Bits {
    let tiny = &picture.tiny;
    Bits::new(tiny.kind.media_type(), TINY_AGE, &tiny.bytes)
}

/// From the largest to the smallest.
fn thumbnails(subject: &Subject, file: &File, picture: &Picture) -> Vec<Thumbnail> {
    let (large, tiny) = (&picture.thumbnail, &picture.tiny);
    // A file that is called so is at that address itself.
    let on_the_web = (file.name != SEGMENT).then(|| {
        Thumbnail::new(
            format!("{}/{SEGMENT}", subject.place),
            large.kind.media_type(),
            (large.width, large.height),
        )
    });
    let inside = Thumbnail::new(
        bits(picture).id.to_uri(),
        tiny.kind.media_type(),
        (tiny.width, tiny.height),
    );
    let size = (picture.width, picture.height);
    let hash = Thumbnail::of_thumbhash(&picture.thumbhash, size);
    on_the_web.into_iter().chain([inside, hash]).collect()
}
