//! How pictures look before they are fetched, and avatars that everybody may see (docs/protocol/media.md). Whoever makes
//! the small pictures is played by [`Studio`].

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use posthaste_im::ext::avatar;
use posthaste_im::media::{
    self, FileId, Order, Painter, Picture, PictureKind, Preview, SmallPicture,
};
use posthaste_im::tables;
use posthaste_kv::Kv;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xep::bits_of_binary::Bits;
use posthaste_proto::xep::file_metadata::FileMetadata;
use posthaste_proto::xml::Element;

use crate::harness::{Client, World};
use crate::media::{slot, upload};

const BASE: &str = "https://files.example.org/media";

/// Keeps orders until the test does what a decoder would; takes two.
#[derive(Default)]
struct Studio(Mutex<Vec<Order>>);

impl Painter for Studio {
    fn take(&self, order: Order) -> Result<(), Box<(Order, StanzaError)>> {
        let mut orders = self.0.lock().unwrap();
        if orders.len() >= 2 {
            return Err(Box::new((order, StanzaError::resource_constraint())));
        }
        orders.push(order);
        Ok(())
    }
}

impl Studio {
    fn open(world: &World) -> Arc<Studio> {
        let studio = Arc::new(Studio::default());
        world.node.set_painter(studio.clone());
        studio
    }

    fn next(&self) -> Order {
        self.0.lock().unwrap().remove(0)
    }
}

fn picture() -> Preview {
    let small = |kind, (width, height), bytes: &'static [u8]| SmallPicture {
        kind,
        width,
        height,
        bytes: Bytes::from_static(bytes),
    };
    Preview::Picture(Arc::new(Picture {
        kind: PictureKind::Png,
        width: 4000,
        height: 3000,
        thumbhash: Bytes::from_static(b"hash"),
        tiny: small(PictureKind::Jpeg, (48, 36), b"abc"),
        thumbnail: small(PictureKind::Png, (320, 240), b"thumbnail"),
    }))
}

/// Romeo has uploaded a file.
async fn uploaded(world: &World, client: &mut Client) -> FileId {
    let slot = slot(world, client, 23_456).await;
    upload(world, &slot, [7; 32]).await.unwrap();
    slot.id
}

fn ask(url: &str) -> String {
    format!(
        "<iq type='get' id='p' to='upload.example.org'><preview xmlns='urn:posthaste:media:0' url='{url}'/></iq>"
    )
}

fn read(answer: &str) -> (Element, FileMetadata) {
    let iq = Element::parse(answer.as_bytes(), ns::CLIENT).unwrap();
    let preview = iq.child("preview", ns::MEDIA).expect(answer).clone();
    let file = preview.child("file", ns::FILE_METADATA).unwrap();
    let file = FileMetadata::read(file);
    (preview, file)
}

#[tokio::test]
async fn a_picture_is_described_once_somebody_has_looked_at_it() {
    let world = World::new();
    let studio = Studio::open(&world);
    let mut romeo = world.connect("romeo", "orchard").await;
    let id = uploaded(&world, &mut romeo).await;
    let url = format!("{BASE}/{id}/tr%C3%A8s%20cool.jpg");
    // It takes a while; nobody else waits for it.
    romeo.send(&ask(&url)).await;
    romeo.receives_nothing().await;
    let ping = "<iq type='get' id='q' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert!(romeo.asks(ping).await.contains("type='result'"));
    let order = studio.next();
    assert_eq!(order.file, id);
    media::keep_preview(&world.node, &id, &picture())
        .await
        .unwrap();
    world.node.previewed(order, Ok(picture())).await;
    let answer = romeo.receives_until_quiet().await.remove(0);
    assert!(answer.contains("from='upload.example.org'"), "{answer}");
    let (preview, file) = read(&answer);
    assert_eq!(preview.attr("url"), Some(&*url));
    // What it is, not what its sender says that it is.
    assert_eq!(file.media_type.as_deref(), Some("image/png"));
    assert_eq!(file.name.as_deref(), Some("très cool.jpg"));
    assert_eq!(file.size, Some(23_456));
    assert_eq!((file.width, file.height), (Some(4000), Some(3000)));
    assert_eq!(file.hashes[0].algorithm, "sha-256");
    assert_eq!(file.hashes[0].value, [7; 32]);
    let [web, inside, hash] = &file.thumbnails[..] else {
        panic!("{answer}");
    };
    assert_eq!(web.uri, format!("{BASE}/{id}/preview"));
    assert_eq!((web.width, web.height), (Some(320), Some(240)));
    let data = Bits::read(preview.child("data", ns::BOB).unwrap()).unwrap();
    assert_eq!(inside.uri, data.id.to_uri());
    assert_eq!(data.bytes, b"abc");
    assert_eq!(inside.media_type.as_deref(), Some("image/jpeg"));
    assert_eq!(hash.uri, "data:image/thumbhash;base64,aGFzaA==");
    // From then on it is known, whoever asks, also of another server.
    assert_eq!(read(&romeo.asks(&ask(&url)).await), (preview, file));
    assert!(studio.0.lock().unwrap().is_empty());
    let world = world.restarted();
    let mut juliet = world.connect("juliet", "balcony").await;
    assert!(juliet.asks(&ask(&url)).await.contains("<thumbnail"));
    Studio::open(&world);
    let info = "<iq type='get' id='i' to='upload.example.org'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let info = juliet.asks(info).await;
    assert!(
        info.contains("<feature var='urn:posthaste:media:0#preview'/>"),
        "{info}"
    );
}

#[tokio::test]
async fn what_is_no_picture_is_described_without_one() {
    let world = World::new();
    let studio = Studio::open(&world);
    let mut romeo = world.connect("romeo", "orchard").await;
    let id = uploaded(&world, &mut romeo).await;
    romeo.send(&ask(&format!("{BASE}/{id}/x"))).await;
    world
        .node
        .previewed(studio.next(), Ok(Preview::Nothing))
        .await;
    let answer = romeo.receives_until_quiet().await.remove(0);
    let (preview, file) = read(&answer);
    assert_eq!(file.media_type.as_deref(), Some("image/jpeg"));
    assert_eq!(file.size, Some(23_456));
    assert_eq!((file.width, file.thumbnails.len()), (None, 0));
    assert!(preview.child("data", ns::BOB).is_none());
}

#[tokio::test]
async fn whoever_gets_no_preview_is_told_why() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let id = uploaded(&world, &mut romeo).await;
    let url = format!("{BASE}/{id}/x");
    let refused = romeo.asks(&ask(&url)).await;
    assert!(refused.contains("<service-unavailable"), "{refused}");
    let studio = Studio::open(&world);
    for elsewhere in [
        format!("aesgcm://files.example.org/media/{id}/x#00"),
        format!("https://files.example.net/media/{id}/x"),
        format!("{BASE}/aaaaaaaaaaaaaaaaaaaaaaaa/x"),
        format!("{BASE}/{id}"),
        String::new(),
    ] {
        let refused = romeo.asks(&ask(&elsewhere)).await;
        assert!(
            refused.contains("<item-not-found"),
            "{elsewhere}: {refused}"
        );
    }
    let none = ask("").replace(" url=''", "");
    assert!(romeo.asks(&none).await.contains("<bad-request"));
    let set = ask(&url).replace("type='get'", "type='set'");
    assert!(romeo.asks(&set).await.contains("<service-unavailable"));
    // Two wait; the third is told to come again.
    romeo.send(&ask(&url)).await;
    romeo.send(&ask(&url)).await;
    let refused = romeo.asks(&ask(&url)).await;
    assert!(refused.contains("type='wait'"), "{refused}");
    assert!(refused.contains("<resource-constraint"), "{refused}");
    // What goes wrong is told, too; and what is removed meanwhile is not there any more.
    let broken = Err(StanzaError::internal_server_error());
    world.node.previewed(studio.next(), broken).await;
    romeo.receives(&[&["<internal-server-error"]]).await;
    media::remove(&world.node, &romeo.bare(), &id)
        .await
        .unwrap();
    world.node.previewed(studio.next(), Ok(picture())).await;
    romeo.receives(&[&["<item-not-found"]]).await;
}

#[tokio::test]
async fn a_preview_goes_with_its_file_and_never_comes_after_it() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let id = uploaded(&world, &mut romeo).await;
    let node = &world.node;
    assert_eq!(media::preview(node, &id).await.unwrap(), None);
    media::keep_preview(node, &id, &picture()).await.unwrap();
    assert_eq!(media::preview(node, &id).await.unwrap(), Some(picture()));
    media::remove(node, &romeo.bare(), &id).await.unwrap();
    assert_eq!(media::preview(node, &id).await.unwrap(), None);
    assert!(media::keep_preview(node, &id, &picture()).await.is_err());
    let partition = tables::file_partition(&id);
    let row = world.kv.get(&partition, tables::PREVIEW).await.unwrap();
    assert_eq!(row, None);
}

/// The beginning of a PNG: what it is called by.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

async fn shown(world: &World, jid: &str) -> Option<Bytes> {
    let jid = BareJid::parse(jid).unwrap();
    let shown = avatar::public(&world.node, &jid).await.unwrap();
    shown.map(|shown| {
        assert_eq!(shown.kind, PictureKind::Png);
        shown.bytes
    })
}

fn card(picture: &[u8]) -> String {
    let picture = BASE64_STANDARD.encode(picture);
    format!(
        "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>{picture}</BINVAL></PHOTO></vCard>"
    )
}

fn publish(node: &str, payload: &str, options: &str) -> String {
    format!(
        "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'><item id='a1'>{payload}</item></publish>{options}</pubsub></iq>"
    )
}

#[tokio::test]
async fn an_avatar_is_on_the_web_if_everybody_may_see_it() {
    let world = World::new();
    let mut juliet = world.connect("juliet", "balcony").await;
    assert_eq!(shown(&world, "juliet@example.org").await, None);
    assert_eq!(shown(&world, "nobody@example.org").await, None);
    assert_eq!(shown(&world, "example.org").await, None);
    let set = |inside: &str| format!("<iq type='set' id='v'>{inside}</iq>");
    juliet.asks(&set(&card(PNG))).await;
    let there = shown(&world, "juliet@example.org").await;
    assert_eq!(there.as_deref(), Some(PNG));
    // What only claims to be a picture is not shown.
    juliet.asks(&set(&card(b"<html><script/></html>"))).await;
    assert_eq!(shown(&world, "juliet@example.org").await, None);
    juliet.asks(&set(&card(PNG))).await;
    juliet
        .asks(&set("<vCard xmlns='vcard-temp'><PHOTO/></vCard>"))
        .await;
    assert_eq!(shown(&world, "juliet@example.org").await, None);
    // Romeo's is for his contacts, as nodes are whose owner says nothing else.
    let mut romeo = world.connect("romeo", "orchard").await;
    let data = format!(
        "<data xmlns='urn:xmpp:avatar:data'>{}</data>",
        BASE64_STANDARD.encode(PNG)
    );
    let metadata = "<metadata xmlns='urn:xmpp:avatar:metadata'><info id='a1' type='image/png' bytes='8'/></metadata>";
    for (node, payload) in [
        ("urn:xmpp:avatar:data", &*data),
        ("urn:xmpp:avatar:metadata", metadata),
    ] {
        let done = romeo.asks(&publish(node, payload, "")).await;
        assert!(done.contains("type='result'"), "{done}");
    }
    assert_eq!(shown(&world, "romeo@example.org").await, None);
}

#[tokio::test]
async fn the_picture_of_a_public_room_is_on_the_web() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let room = "coven@conference.example.org";
    juliet
        .send(&format!(
            "<presence to='{room}/firstwitch'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await;
    juliet.receives_until_quiet().await;
    let set = format!("<iq type='set' id='v' to='{room}'>{}</iq>", card(PNG));
    let configured = |is_public: u8| {
        format!(
            "<iq type='set' id='c' to='{room}'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field><field var='muc#roomconfig_publicroom'><value>{is_public}</value></field></x></query></iq>"
        )
    };
    for (is_public, seen) in [(1, Some(PNG)), (0, None)] {
        let done = juliet.asks(&configured(is_public)).await;
        assert!(done.contains("type='result'"), "{done}");
        let done = juliet.asks(&set).await;
        assert!(done.contains("type='result'"), "{done}");
        assert_eq!(shown(&world, room).await.as_deref(), seen);
    }
}
