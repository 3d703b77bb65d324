//! The occupants of all rooms, seen from whoever tells them what to do: the phases of the `rooms` scenario.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::occupant::{Happened, Occupant, Order, Seat, Talk};
use super::{Room, Rooms, Stage};
use crate::login::Client;
use crate::report::{Report, as_f64, micros_histogram};
use crate::scenario::chat::Schedule;
use crate::server_process::ServerProcess;
use crate::target::Target;

/// Nothing has come for so long: what was set off is over.
const QUIET: Duration = Duration::from_millis(300);
/// How often it is looked whether something is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) struct Cast<'a> {
    options: &'a Rooms,
    stage: Arc<Stage>,
    rooms: Vec<Arc<Room>>,
    orders: Vec<mpsc::Sender<Order>>,
    events: mpsc::Receiver<Happened>,
    tasks: JoinSet<()>,
}

impl<'a> Cast<'a> {
    /// Puts the clients on their seats; nobody has entered a room yet.
    pub(super) fn new(options: &'a Rooms, target: &Target, clients: Vec<Client>) -> Cast<'a> {
        let stage = Arc::new(Stage::new(options.occupants));
        let service = match &options.service {
            Some(service) => service.clone(),
            None => format!("conference.{}", target.domain),
        };
        // New rooms in every run: nobody is shown what an older run has said.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let run = since.map_or(0, |since| since.as_millis());
        let room = |number| Room {
            jid: format!("load-{run}-{number}@{service}"),
            offset: as_f64(number as u64) / as_f64(options.rooms as u64),
            sent: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
        };
        let rooms: Vec<_> = (0..options.rooms).map(|n| Arc::new(room(n))).collect();
        let (tell, events) = mpsc::channel(clients.len());
        let mut tasks = JoinSet::new();
        let mut orders = Vec::new();
        for (number, client) in clients.into_iter().enumerate() {
            let (order, ordered) = mpsc::channel(1);
            orders.push(order);
            let seat = Seat {
                room: rooms[number / options.occupants].clone(),
                number: number % options.occupants,
                quiet_presence: options.quiet_presence,
            };
            let occupant = Occupant::new(client, seat, options.body_bytes);
            tasks.spawn(occupant.run(stage.clone(), ordered, tell.clone()));
        }
        Cast {
            options,
            stage,
            rooms,
            orders,
            events,
            tasks,
        }
    }

    /// Everybody comes but the last of each room. Who comes first makes the room.
    pub(super) async fn fill_rooms(
        &mut self,
        server: Option<&ServerProcess>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let (seats, all) = (self.options.occupants, self.orders.len());
        for founder in (0..all).step_by(seats) {
            self.order(founder, Order::Join).await?;
            self.next_event().await.context("making a room")?;
        }
        let cpu = server.map(ServerProcess::cpu_time).transpose()?;
        let before = self.stage.stanzas.load(Ordering::Relaxed);
        let started = Instant::now();
        // Room by room in turn, so that all fill at once.
        let mut guests = (1..seats - 1).flat_map(|seat| (seat..all).step_by(seats));
        let (mut joined, mut under_way) = (0, 0);
        loop {
            while under_way < self.options.joining.max(1)
                && let Some(guest) = guests.next()
            {
                self.order(guest, Order::Join).await?;
                under_way += 1;
            }
            if under_way == 0 {
                break;
            }
            self.next_event().await.context("joining")?;
            under_way -= 1;
            joined += 1;
        }
        report.rate("joined", joined, started.elapsed());
        let over = self.quiet().await;
        let elapsed = over.duration_since(started);
        report.add("join_all_s", elapsed.as_secs_f64(), "s");
        let stanzas = self.stage.stanzas.load(Ordering::Relaxed) - before;
        report.count("join_stanzas", stanzas);
        if let (Some(server), Some(before)) = (server, cpu) {
            let used = server.cpu_time()?.saturating_sub(before);
            report.cpu("join", used, joined, elapsed);
        }
        Ok(())
    }

    /// The last of each room comes, leaves and comes again, with nothing else going on.
    pub(super) async fn time_last_joins(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let (seats, all) = (self.options.occupants, self.orders.len());
        let mut times = micros_histogram();
        for last in (seats - 1..all).step_by(seats) {
            for visit in 0..=self.options.rejoins {
                self.order(last, Order::Join).await?;
                let Happened::Joined(took) = self.next_event().await.context("joining last")?
                else {
                    bail!("an occupant left who was to join");
                };
                times.saturating_record(took.as_micros().try_into().unwrap_or(u64::MAX));
                self.quiet().await;
                if visit < self.options.rejoins {
                    self.order(last, Order::Leave).await?;
                    self.next_event().await.context("leaving")?;
                    self.quiet().await;
                }
            }
        }
        report.latency("last_join", &times);
        Ok(())
    }

    /// Everybody talks; counts and the server's CPU time are taken at both ends of the measurement.
    pub(super) async fn talk(
        &mut self,
        server: Option<&ServerProcess>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let talk = Arc::new(self.new_talk());
        let schedule = &talk.schedule;
        for number in 0..self.orders.len() {
            self.order(number, Order::Talk(talk.clone())).await?;
        }
        let length = Duration::from_secs(self.options.seconds);
        sleep_until(schedule.stop - length).await;
        let cpu = server.map(ServerProcess::cpu_time).transpose()?;
        let (before, started) = (self.counts(), Instant::now());
        sleep_until(schedule.stop).await;
        let (after, elapsed) = (self.counts(), started.elapsed());

        report.rate("sent", after.0 - before.0, elapsed);
        let delivered = after.1 - before.1;
        report.rate("delivered", delivered, elapsed);
        if let (Some(server), Some(before)) = (server, cpu) {
            let used = server.cpu_time()?.saturating_sub(before);
            report.cpu("server", used, delivered, elapsed);
            let seconds = used.as_secs_f64().max(0.01);
            report.add("delivered_per_cpu_s", as_f64(delivered) / seconds, "/CPU s");
        }
        let undelivered = loop {
            let (sent, delivered) = self.counts();
            let missing = (sent * self.stage.occupants).saturating_sub(delivered);
            if missing == 0 || Instant::now() >= schedule.give_up {
                break missing;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        report.count("undelivered_in_all", undelivered);
        Ok(())
    }

    fn new_talk(&self) -> Talk {
        let options = self.options;
        // Everybody has been told by then.
        let start = Instant::now() + Duration::from_millis(200);
        let speakers = options.speakers.clamp(1, options.occupants);
        let speaking = as_f64((speakers * options.rooms) as u64);
        let clock = &self.stage.clock;
        Talk {
            schedule: Schedule::new(
                clock,
                start,
                [options.warmup, options.seconds, options.drain],
            ),
            speakers,
            window: options.window as usize,
            period: options
                .rate
                .map(|rate| Duration::from_secs_f64(speaking / rate.max(0.001))),
        }
    }

    /// Messages written, and copies that have arrived.
    fn counts(&self) -> (u64, u64) {
        let sum = |count: fn(&Room) -> &AtomicU64| {
            let counts = self.rooms.iter().map(|room| count(room));
            counts.map(|count| count.load(Ordering::Relaxed)).sum()
        };
        (sum(|room| &room.sent), sum(|room| &room.delivered))
    }

    async fn order(&self, number: usize, order: Order) -> anyhow::Result<()> {
        let sent = self.orders[number].send(order).await;
        sent.ok().context("an occupant has lost its connection")
    }

    async fn next_event(&mut self) -> anyhow::Result<Happened> {
        let patience = Duration::from_secs(self.options.patience);
        let event = tokio::time::timeout(patience, self.events.recv()).await;
        match event.context("it took too long")? {
            Some(Happened::Refused(why)) => bail!("the server answered: {why}"),
            Some(Happened::Lost(why)) => bail!("a connection was lost: {why}"),
            Some(happened) => Ok(happened),
            None => bail!("all connections are lost"),
        }
    }

    /// Waits until nothing comes any more, as long as there is patience. Answers when the last thing came.
    async fn quiet(&self) -> Instant {
        let give_up = Instant::now() + Duration::from_secs(self.options.patience);
        let mut seen = self.stage.stanzas.load(Ordering::Relaxed);
        let mut last = Instant::now();
        while last.elapsed() < QUIET && Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = self.stage.stanzas.load(Ordering::Relaxed);
            if now != seen {
                (seen, last) = (now, Instant::now());
            }
        }
        last
    }

    /// Logs everybody out.
    pub(super) async fn end(mut self) -> Arc<Stage> {
        self.orders.clear();
        while self.tasks.join_next().await.is_some() {}
        self.stage
    }
}
