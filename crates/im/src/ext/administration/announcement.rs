//! A word to everybody who is online, and the end of service with it (XEP-0133 §4.23, §4.30, §4.31).

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::data_form::{DataForm, FieldKind};
use posthaste_proto::xml::Element;

use super::{choices, form, note, of_host, question, required, text};
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

/// Sends the words as a headline: to whoever is there now, and into nobody's log. Answers to how many.
async fn announce(run: &Run<'_>, hosts: &[BareJid], words: &str) -> usize {
    let body = Element::new("body", ns::CLIENT).with_text(words);
    let mut told_to = 0;
    let mut batch = Vec::with_capacity(AT_A_TIME);
    for home in run.node.homes() {
        let Some(host) = hosts.iter().find(|host| host.as_str() == home.jid.domain()) else {
            continue;
        };
        if home.look(|state| state.sessions.is_empty()).await != Some(false) {
            continue;
        }
        let message = Stanza::message(MessageType::Headline)
            .from(host.clone())
            .to(home.jid.clone())
            .with_child(&body);
        batch.push(Envelope::new(message));
        told_to += 1;
        if batch.len() == AT_A_TIME {
            run.node.route(std::mem::take(&mut batch)).await;
        }
    }
    run.node.route(batch).await;
    told_to
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
