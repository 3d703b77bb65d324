//! A word to everybody who is online, and the end of service with it (XEP-0133 §4.23, §4.30, §4.31); or to everybody in
//! the rooms, wherever they are from, which XEP-0133 has no command for.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::data_form::{DataForm, FieldKind};
use posthaste_proto::xml::Element;

use super::{choices, form, note, of_host, question, required, text};
use crate::config::ServiceKind;
use crate::error::WalkError;
use crate::ext::commands::{Command, Outcome, Right, Run, Submission, bad_payload};
use crate::orders::Order;
use crate::router::Envelope;

type Done<'r> = BoxFuture<'r, Result<Outcome, WalkError>>;

/// Announcements that are under way at a time: memory for that many, however many are online.
const AT_A_TIME: usize = 256;
/// The longest that a restart can be put off, in seconds.
const MOST_DELAY_SECONDS: u64 = 24 * 3_600;

/// §4.23.
pub(super) const ANNOUNCE: Command = of_host(
    "http://jabber.org/protocol/admin#announce",
    "Send Announcement to Online Users",
    Some(|_| {
        let words = question("announcement", FieldKind::TextMulti, "Announcement");
        form(
            "Making an Announcement",
            "Fill out this form to make an announcement to all online users of this service.",
        )
        .with_field(required(words))
    }),
    |run, told| {
        async move {
            let told_to = announce(
                run,
                std::slice::from_ref(run.host),
                &text(told.form, "announcement"),
            )
            .await;
            Ok(note(format!("Announced to {told_to} users.")))
        }
        .boxed()
    },
);

/// Not of XEP-0133.
pub(super) const ANNOUNCE_IN_ROOMS: Command = of_host(
    "urn:posthaste:admin:0#announce-in-rooms",
    "Send Announcement to All Rooms",
    Some(|_| {
        let words = question("announcement", FieldKind::TextMulti, "Announcement");
        form(
            "Making an Announcement in All Rooms",
            "Fill out this form to make an announcement to everybody who is in a room of this service, from other \
             servers too. It is in no room's history.",
        )
        .with_field(required(words))
    }),
    |run, told| {
        async move {
            let rooms = announce_in_rooms(run, &text(told.form, "announcement")).await;
            Ok(note(format!("Announced in {rooms} rooms.")))
        }
        .boxed()
    },
);

/// What is on its way, so many at a time.
struct Announced<'r> {
    run: &'r Run<'r>,
    batch: Vec<Envelope>,
    count: usize,
}

impl<'r> Announced<'r> {
    fn by(run: &'r Run<'r>) -> Announced<'r> {
        Announced {
            run,
            batch: Vec::with_capacity(AT_A_TIME),
            count: 0,
        }
    }

    /// The words as a headline, in the host's name.
    async fn tell(&mut self, host: &BareJid, to: &BareJid, words: &Element) {
        let message = Stanza::message(MessageType::Headline)
            .from(host.clone())
            .to(to.clone())
            .with_child(words);
        self.batch.push(Envelope::new(message));
        self.count += 1;
        if self.batch.len() == AT_A_TIME {
            self.run.node.route(std::mem::take(&mut self.batch)).await;
        }
    }

    /// Answers how many were told.
    async fn finish(self) -> usize {
        self.run.node.route(self.batch).await;
        self.count
    }
}

fn body(words: &str) -> Element {
    Element::new("body", ns::CLIENT).with_text(words)
}

/// Sends the words to whoever is there now, and into nobody's log. Answers to how many.
async fn announce(run: &Run<'_>, hosts: &[BareJid], words: &str) -> usize {
    let (words, mut announced) = (body(words), Announced::by(run));
    for home in run.node.homes() {
        let Some(host) = hosts.iter().find(|host| host.as_str() == home.jid.domain()) else {
            continue;
        };
        if home.look(|state| state.sessions.is_empty()).await == Some(false) {
            announced.tell(host, &home.jid, &words).await;
        }
    }
    announced.finish().await
}

/// Sends the words to the rooms of the host in which somebody is; each tells its own ([`crate::ext::muc`]). Answers how
/// many rooms those are.
async fn announce_in_rooms(run: &Run<'_>, words: &str) -> usize {
    let config = run.node.config();
    let services = config.host(run.host.as_str()).map(|host| &host.services);
    let services = services.into_iter().flatten();
    let rooms = services.filter(|service| service.kind == ServiceKind::Rooms);
    let rooms: Vec<BareJid> = rooms.map(|service| service.domain.clone()).collect();
    let (words, mut announced) = (body(words), Announced::by(run));
    for home in run.node.homes() {
        let is_room = |service: &BareJid| service.as_str() == home.jid.domain();
        if home.jid.local().is_none() || !rooms.iter().any(is_room) {
            continue;
        }
        let occupants = home.look(|state| state.room.as_ref().map(|room| room.occupants.len()));
        if occupants.await.flatten().is_some_and(|count| count > 0) {
            announced.tell(run.host, &home.jid, &words).await;
        }
    }
    announced.finish().await
}

/// §4.30.
pub(super) const RESTART: Command = Command {
    node: "http://jabber.org/protocol/admin#restart",
    name: "Restart Service",
    right: Right::Server,
    form: Some(|_| asks("Restarting the Service", "Time delay before restarting")),
    pages: false,
    run: |run, told| give(run, told, Order::Restart),
};

/// §4.31.
pub(super) const SHUT_DOWN: Command = Command {
    node: "http://jabber.org/protocol/admin#shutdown",
    name: "Shut Down Service",
    right: Right::Server,
    form: Some(|_| {
        asks(
            "Shutting Down the Service",
            "Time delay before shutting down",
        )
    }),
    pages: false,
    run: |run, told| give(run, told, Order::ShutDown),
};

fn asks(title: &str, delay: &str) -> DataForm {
    let options = [
        ("30 seconds", "30"),
        ("60 seconds", "60"),
        ("90 seconds", "90"),
        ("2 minutes", "120"),
        ("3 minutes", "180"),
        ("4 minutes", "240"),
        ("5 minutes", "300"),
    ];
    let delay = question("delay", FieldKind::ListSingle, delay);
    form(title, "The whole server is meant, with all its hosts.")
        .with_field(choices(delay, &options))
        .with_field(question(
            "announcement",
            FieldKind::TextMulti,
            "Announcement",
        ))
}

fn give<'r>(run: &'r Run<'r>, told: Submission<'r>, order: Order) -> Done<'r> {
    async move {
        let seconds = match told.form.field("delay").and_then(|field| field.value()) {
            None | Some("") => 0,
            Some(seconds) => seconds
                .parse()
                .ok()
                .filter(|seconds| *seconds <= MOST_DELAY_SECONDS)
                .ok_or_else(|| bad_payload("the delay is no number of seconds"))?,
        };
        let words = text(told.form, "announcement");
        if !words.is_empty() {
            let config = run.node.config();
            let hosts: Vec<_> = config
                .hosts
                .iter()
                .map(|host| host.domain.clone())
                .collect();
            announce(run, &hosts, &words).await;
        }
        run.node.order(order, seconds.saturating_mul(1_000));
        Ok(Outcome::default())
    }
    .boxed()
}
