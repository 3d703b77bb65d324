//! One user of the `chat` scenario.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Stage;
use crate::connection::Received;
use crate::login::{Client, Nonza, write_ack};
use crate::stamp::MessageForm;

/// How often a talker who only waits looks whether everything has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A logged-in user who writes to one peer and counts what arrives.
pub(super) struct Talker {
    client: Client,
    form: MessageForm,
    number: usize,
    users: usize,
    /// Messages written so far.
    written: u64,
    /// Messages written since an ack was last asked for.
    unasked: u32,
    /// Acks asked for: how many stanzas each is to cover, and when. One ack may answer several.
    asked: VecDeque<(u64, u64)>,
    latency: Vec<u64>,
    acks: Vec<u64>,
}

/// What a batch of incoming elements amounts to.
#[derive(Default)]
struct Arrived {
    messages: u32,
    closed: bool,
}

impl Talker {
    pub(super) fn new(
        client: Client,
        peer: &str,
        body_bytes: usize,
        number: usize,
        users: usize,
    ) -> Talker {
        Talker {
            client,
            form: MessageForm::new(peer, body_bytes),
            number,
            users,
            written: 0,
            unasked: 0,
            asked: VecDeque::new(),
            latency: Vec::new(),
            acks: Vec::new(),
        }
    }

    /// Talks until the schedule says stop, then listens until all has arrived or it is time to give up.
    pub(super) async fn run(mut self, stage: Arc<Stage>) {
        if Box::pin(self.talk_and_listen(&stage)).await.is_err() {
            stage.lost_connections.fetch_add(1, Ordering::Relaxed);
            return;
        }
        stage.record(self.number, &mut self.latency, &mut self.acks);
        self.client.connection.close().await;
    }

    async fn talk_and_listen(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let mut due = self.first_due(stage);
        if stage.period.is_none() {
            // The lower of a pair starts with the greater half of the window.
            let share =
                stage.window.div_ceil(2) - (stage.window % 2) * u32::from(self.number % 2 == 1);
            self.say(stage, share, stage.clock.now());
        }
        loop {
            let now = Instant::now();
            let talking = now < stage.schedule.stop;
            if !talking && self.is_over(stage, now) {
                return Ok(());
            }
            let wake = match (talking, due) {
                (true, Some(due)) => due,
                (true, None) => stage.schedule.stop,
                (false, _) => now + LOOK_EVERY,
            };
            tokio::select! {
                biased;
                turned = self.client.connection.turn() => {
                    turned?;
                    let arrived = self.listen(stage)?;
                    anyhow::ensure!(!arrived.closed, "the server closed the stream");
                    if talking && stage.period.is_none() {
                        self.say(stage, arrived.messages, stage.clock.now());
                    }
                }
                () = tokio::time::sleep_until(wake) => {
                    if let (true, Some(period)) = (talking, stage.period) {
                        due = self.say_what_is_due(stage, wake, period);
                    }
                }
            }
        }
    }

    /// Users start evenly spread over one period.
    fn first_due(&self, stage: &Stage) -> Option<Instant> {
        let share = u32::try_from(self.number).ok()?;
        let users = u32::try_from(self.users).ok()?;
        stage
            .period
            .map(|period| stage.schedule.start + period * share / users)
    }

    /// Sends every message whose time has come, stamped with that time, and says when the next one is due.
    fn say_what_is_due(
        &mut self,
        stage: &Stage,
        due: Instant,
        period: Duration,
    ) -> Option<Instant> {
        let now = Instant::now();
        let mut due = due;
        while due <= now && due < stage.schedule.stop {
            self.say(stage, 1, stage.clock.at(due.into_std()));
            due += period;
        }
        Some(due)
    }

    fn is_over(&self, stage: &Stage, now: Instant) -> bool {
        let sent = stage.sent.load(Ordering::Relaxed);
        let settled =
            stage.delivered.load(Ordering::Relaxed) + stage.bounced.load(Ordering::Relaxed);
        now >= stage.schedule.give_up || settled >= sent
    }

    fn say(&mut self, stage: &Stage, messages: u32, stamp: u64) {
        let out = self.client.connection.outbound();
        for _ in 0..messages {
            self.form.write(out, stamp, self.written);
            self.written += 1;
            self.unasked += 1;
            if Some(self.unasked) == stage.ack_every {
                out.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
                self.unasked = 0;
                self.asked.push_back((self.written, stamp));
            }
        }
        stage.sent.fetch_add(u64::from(messages), Ordering::Relaxed);
    }

    /// Takes in everything that has been read.
    fn listen(&mut self, stage: &Stage) -> anyhow::Result<Arrived> {
        let mut arrived = Arrived::default();
        let now = stage.clock.now();
        let measured = stage.schedule.measure_from..stage.schedule.measure_to;
        let Client {
            connection,
            handled,
            sent,
        } = &mut self.client;
        while let Some((received, out)) = connection.take()? {
            let Received::Element(xml) = received else {
                arrived.closed = true;
                break;
            };
            match Nonza::of(xml) {
                Some(Nonza::Request) => write_ack(out, *handled),
                Some(Nonza::Ack(h)) => {
                    let covered = u64::from(h.saturating_sub(*sent));
                    while let Some((_, at)) = self.asked.pop_front_if(|(upto, _)| *upto <= covered)
                    {
                        if measured.contains(&at) {
                            self.acks.push(now.saturating_sub(at));
                        }
                    }
                }
                None => {
                    *handled = handled.wrapping_add(1);
                    match stage.clock.stamp_in(xml) {
                        _ if is_error(xml) => {
                            stage.bounced.fetch_add(1, Ordering::Relaxed);
                        }
                        Some(stamp) => {
                            arrived.messages += 1;
                            if measured.contains(&stamp) {
                                self.latency.push(now.saturating_sub(stamp));
                            }
                        }
                        None => {}
                    }
                }
            }
        }
        stage
            .delivered
            .fetch_add(u64::from(arrived.messages), Ordering::Relaxed);
        stage.record(self.number, &mut self.latency, &mut self.acks);
        Ok(arrived)
    }
}

/// Whether the root tag says that this is an error.
fn is_error(xml: &[u8]) -> bool {
    let root = xml.split(|byte| *byte == b'>').next().unwrap_or_default();
    memchr::memmem::find(root, b"type='error'").is_some()
        || memchr::memmem::find(root, b"type=\"error\"").is_some()
}

#[cfg(test)]
mod tests {
    use super::is_error;

    #[test]
    fn only_the_root_makes_a_message_an_error() {
        assert!(is_error(
            b"<message type='error' to='a@b'><body/></message>"
        ));
        assert!(is_error(b"<message type=\"error\"/>"));
        assert!(!is_error(
            b"<message type='chat'><x type='error'/></message>"
        ));
    }
}
