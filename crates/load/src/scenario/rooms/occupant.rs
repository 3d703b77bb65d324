//! One occupant of a room in the `rooms` scenario.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::standing::{Heard, Standing};
use super::{Room, Stage};
use crate::connection::Received;
use crate::login::{Client, Nonza, write_ack};
use crate::report::as_f64;
use crate::scenario::chat::Schedule;
use crate::stamp::MessageForm;

/// Who writes asks for an ack after so many messages.
const ACK_EVERY: u32 = 5;

/// What an occupant is to do. When no more orders can come it logs out.
pub(super) enum Order {
    Join,
    Leave,
    Talk(Arc<Talk>),
}

/// What an occupant has to tell.
pub(super) enum Happened {
    /// It has its own presence and the subject, so long after asking.
    Joined(Duration),
    Left,
    Refused(String),
    Lost(String),
}

/// How the talking goes.
pub(super) struct Talk {
    pub(super) schedule: Schedule,
    /// How many of a room write, in an open loop.
    pub(super) speakers: usize,
    /// Messages under way per room, in a closed loop.
    pub(super) window: usize,
    /// Time between two messages of one speaker; `None` in a closed loop.
    pub(super) period: Option<Duration>,
}

/// An occupant's place.
pub(super) struct Seat {
    pub(super) room: Arc<Room>,
    /// Among the occupants of its room; the first one makes the room.
    pub(super) number: usize,
    /// Make the room one that tells nobody of participants.
    pub(super) quiet_presence: bool,
}

/// A logged-in client with a seat.
pub(super) struct Occupant {
    client: Client,
    seat: Seat,
    standing: Standing,
    form: MessageForm,
    talk: Option<Arc<Talk>>,
    /// When its next message is due, in an open loop.
    due: Option<Instant>,
    written: u64,
    /// Messages written since an ack was last asked for.
    unasked: u32,
    /// Stanzas written since log-in.
    sent: u64,
    /// Acks asked for: how many stanzas each is to cover, and when.
    asked: VecDeque<(u64, u64)>,
    latency: Vec<u64>,
    acks: Vec<u64>,
}

impl Occupant {
    pub(super) fn new(client: Client, seat: Seat, body_bytes: usize) -> Occupant {
        Occupant {
            form: MessageForm::of_type("groupchat", &seat.room.jid, body_bytes),
            client,
            seat,
            standing: Standing::Settled,
            talk: None,
            due: None,
            written: 0,
            unasked: 0,
            sent: 0,
            asked: VecDeque::new(),
            latency: Vec::new(),
            acks: Vec::new(),
        }
    }

    /// Does as it is ordered until no more orders can come.
    pub(super) async fn run(
        mut self,
        stage: Arc<Stage>,
        mut orders: mpsc::Receiver<Order>,
        tell: mpsc::Sender<Happened>,
    ) {
        if let Err(error) = Box::pin(self.obey_and_listen(&stage, &mut orders, &tell)).await {
            stage.lost_connections.fetch_add(1, Ordering::Relaxed);
            let _ = tell.try_send(Happened::Lost(format!("{error:#}")));
            return;
        }
        self.client.connection.close().await;
    }

    async fn obey_and_listen(
        &mut self,
        stage: &Stage,
        orders: &mut mpsc::Receiver<Order>,
        tell: &mpsc::Sender<Happened>,
    ) -> anyhow::Result<()> {
        loop {
            let due = self.due;
            tokio::select! {
                biased;
                turned = self.client.connection.turn() => {
                    turned?;
                    if let Some(happened) = self.listen(stage)? {
                        // There is room for one of each occupant, and nobody has more to tell before its next order.
                        let _ = tell.try_send(happened);
                    }
                }
                order = orders.recv() => match order {
                    Some(order) => self.obey(order, stage),
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.say_what_is_due(stage);
                }
            }
        }
    }

    fn obey(&mut self, order: Order, stage: &Stage) {
        match order {
            Order::Join => {
                self.send_presence("><x xmlns='http://jabber.org/protocol/muc'/></presence>");
                self.standing = Standing::entering();
            }
            Order::Leave => {
                self.send_presence(" type='unavailable'/>");
                self.standing = Standing::Leaving;
            }
            Order::Talk(talk) => {
                let seat = self.seat.number;
                if let Some(period) = talk.period {
                    // The speakers of all rooms start evenly spread over one period.
                    let place = as_f64(seat as u64) + self.seat.room.offset;
                    let share = place / as_f64(talk.speakers as u64);
                    let first = talk.schedule.start + period.mul_f64(share);
                    self.due = (seat < talk.speakers).then_some(first);
                } else if seat < talk.window {
                    self.say(1, stage.clock.now());
                }
                self.talk = Some(talk);
            }
        }
    }

    fn send_presence(&mut self, rest: &str) {
        let (room, nick) = (&self.seat.room.jid, self.seat.number);
        let presence = format!("<presence to='{room}/occupant{nick}'{rest}");
        let out = self.client.connection.outbound();
        out.extend_from_slice(presence.as_bytes());
        self.sent += 1;
    }

    /// The room is to stay, and is archived as its server does it by default.
    fn configure(&mut self) {
        let field = |name, value| {
            format!("<field var='muc#roomconfig_{name}'><value>{value}</value></field>")
        };
        let mut fields = field("persistentroom", "1");
        if self.seat.quiet_presence {
            fields += &field("presencebroadcast", "moderator");
        }
        let iq = format!(
            "<iq type='set' id='configure' to='{}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
             <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
             <value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x></query></iq>",
            self.seat.room.jid
        );
        let out = self.client.connection.outbound();
        out.extend_from_slice(iq.as_bytes());
        self.sent += 1;
    }

    /// Sends every message whose time has come, stamped with that time.
    fn say_what_is_due(&mut self, stage: &Stage) {
        let Some(talk) = self.talk.clone() else {
            return;
        };
        let (now, period) = (Instant::now(), talk.period.unwrap_or(Duration::MAX));
        while let Some(due) = self.due.filter(|due| *due <= now) {
            self.say(1, stage.clock.at(due.into_std()));
            let next = due + period;
            self.due = (next < talk.schedule.stop).then_some(next);
        }
    }

    fn say(&mut self, messages: u64, stamp: u64) {
        let out = self.client.connection.outbound();
        for _ in 0..messages {
            self.form.write(out, stamp, self.written);
            self.written += 1;
            self.sent += 1;
            self.unasked += 1;
            if self.unasked == ACK_EVERY {
                out.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
                self.unasked = 0;
                self.asked.push_back((self.sent, stamp));
            }
        }
        let sent = &self.seat.room.sent;
        sent.fetch_add(messages, Ordering::Relaxed);
    }

    /// Takes in everything that has been read.
    fn listen(&mut self, stage: &Stage) -> anyhow::Result<Option<Happened>> {
        let mut heard = Heard::Nothing;
        let mut arrived = Arrived::default();
        let now = stage.clock.now();
        let schedule = self.talk.as_ref().map(|talk| &talk.schedule);
        let measured = schedule.map_or(0..0, |times| times.measure_from..times.measure_to);
        let Client {
            connection,
            handled,
            sent,
        } = &mut self.client;
        while let Some((received, out)) = connection.take()? {
            let Received::Element(xml) = received else {
                anyhow::bail!("the server closed the stream");
            };
            match Nonza::of(xml) {
                Some(Nonza::Request) => write_ack(out, *handled),
                Some(Nonza::Ack(h)) => {
                    let covered = u64::from(h.saturating_sub(*sent));
                    let is_covered = |(upto, _): &mut (u64, u64)| *upto <= covered;
                    while let Some((_, at)) = self.asked.pop_front_if(is_covered) {
                        if measured.contains(&at) {
                            self.acks.push(now.saturating_sub(at));
                        }
                    }
                }
                None => {
                    *handled = handled.wrapping_add(1);
                    arrived.stanzas += 1;
                    if !self.standing.is_settled() {
                        // It settles with what it was waiting for.
                        heard = self.standing.hear(xml);
                    } else if let Some(stamp) = stage.clock.stamp_in(xml) {
                        arrived.messages += 1;
                        if measured.contains(&stamp) {
                            self.latency.push(now.saturating_sub(stamp));
                        }
                    }
                }
            }
        }
        stage.stanzas.fetch_add(arrived.stanzas, Ordering::Relaxed);
        stage.record(&mut self.latency, &mut self.acks);
        self.reply(stage, arrived.messages);
        Ok(self.heard(heard))
    }

    /// In a closed loop whoever gets the last copy of a message writes the next one.
    fn reply(&mut self, stage: &Stage, messages: u64) {
        let delivered = &self.seat.room.delivered;
        let before = delivered.fetch_add(messages, Ordering::Relaxed);
        let whole = (before + messages) / stage.occupants - before / stage.occupants;
        let talking = self
            .talk
            .as_ref()
            .is_some_and(|talk| talk.period.is_none() && Instant::now() < talk.schedule.stop);
        if talking && whole > 0 {
            self.say(whole, stage.clock.now());
        }
    }

    /// The maker of a room configures it when it has entered.
    fn heard(&mut self, heard: Heard) -> Option<Happened> {
        match heard {
            Heard::Nothing => None,
            Heard::Entered { took, made: true } => {
                self.configure();
                self.standing = Standing::Configuring(took);
                None
            }
            Heard::Entered { took, .. } | Heard::Configured(took) => Some(Happened::Joined(took)),
            Heard::Left => Some(Happened::Left),
            Heard::Refused(why) => Some(Happened::Refused(why)),
        }
    }
}

/// What a batch of incoming elements amounts to.
#[derive(Default)]
struct Arrived {
    stanzas: u64,
    messages: u64,
}
