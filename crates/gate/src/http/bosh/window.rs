//! The order of a session's requests and their answers (XEP-0124 §9 to §15): which request is next,
//! which ones wait for an answer, which answers may have to be given again, and what the client is
//! known to have received. No IO and no clock: time is an argument.
//!
//! `R` is where the answer to a request goes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use posthaste_proto::sasl::Hash;
use tokio::time::Instant;

use super::body::{Answer, Condition, Request};

/// The longest time a request is held: browsers and proxies give up soon after a minute.
pub(super) const MOST_WAIT_SECONDS: u64 = 60;

/// Requests held at once, at most: one is enough to answer at any moment, and each is a connection.
pub(super) const MOST_HOLD: u64 = 1;

/// Time without any request held, after which the client counts as gone: a round trip on a bad
/// network, with a connection to be made.
pub(super) const INACTIVITY: Duration = Duration::from_secs(30);

/// The same for clients that poll: some of their intervals.
pub(super) const POLLING_INACTIVITY: Duration = Duration::from_secs(75);

/// The shortest interval at which a client may poll.
pub(super) const POLLING: Duration = Duration::from_secs(2);

/// The longest pause that a client may ask for: to change from one web page to the next.
pub(super) const MOST_PAUSE: Duration = Duration::from_secs(120);

/// Times that one request may be sent again before it has been answered.
const MOST_REPEATS: u8 = 8;

/// What the client may do, as it was told when the session was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) wait: Duration,
    pub(super) hold: usize,
    /// The client says which answers it has received (§9.2).
    pub(super) acks: bool,
}

impl Terms {
    /// What is granted of what a session request asks for.
    pub(super) fn of(request: &Request) -> Terms {
        let wait = request
            .wait
            .unwrap_or(MOST_WAIT_SECONDS)
            .min(MOST_WAIT_SECONDS);
        let hold = request.hold.unwrap_or(1).min(MOST_HOLD);
        let polls = wait == 0 || hold == 0;
        Terms {
            wait: Duration::from_secs(wait),
            hold: usize::from(!polls),
            acks: request.ack == Some(1),
        }
    }

    /// Requests that the client may have open at once.
    pub(super) fn requests(self) -> usize {
        self.hold + 1
    }

    pub(super) fn inactivity(self) -> Duration {
        if self.hold == 0 {
            POLLING_INACTIVITY
        } else {
            INACTIVITY
        }
    }
}

/// A request whose payloads have been taken and that waits for its answer.
#[derive(Debug)]
struct Held<R> {
    rid: u64,
    reply: R,
    until: Instant,
    repeats: u8,
}

/// An answer that was given, and may have to be given again.
#[derive(Debug)]
struct Sent {
    rid: u64,
    body: Bytes,
    /// How many payloads had been given in all, this answer's included.
    total: u64,
}

/// See the module comment.
#[derive(Debug)]
pub(super) struct Window<R> {
    terms: Terms,
    /// The request that made the session has not been answered.
    creating: bool,
    /// The rid of the request that is to be taken next.
    next: u64,
    /// Requests that came before their turn.
    early: BTreeMap<u64, (Request, R)>,
    held: VecDeque<Held<R>>,
    sent: VecDeque<Sent>,
    /// Payloads given, and those of them that the client is known to have received.
    given: u64,
    confirmed: u64,
    /// What the next request's key must hash to (§15).
    key: Option<String>,
    /// When there was last a request, and the time allowed without one.
    idle_since: Instant,
    idle_for: Duration,
    /// When the last request came, if it was empty and its answer, too: polling must not be faster.
    empty_poll: Option<Instant>,
}

/// Where answers go to, with what they say.
pub(super) type Answers<R> = Vec<(R, Bytes)>;

/// What became of a request.
#[derive(Debug)]
pub(super) struct Turn<R> {
    /// Requests whose turn it is, in order: to be forwarded.
    pub(super) taken: Vec<Request>,
    pub(super) answers: Answers<R>,
}

/// The session has to end; the asker gets the condition, and all others an empty answer.
#[derive(Debug)]
pub(super) struct Broken<R> {
    pub(super) condition: Condition,
    pub(super) reply: R,
}

impl<R> Window<R> {
    /// The window of a session that `request` has asked for. Its answer is held until there is
    /// something to say.
    pub(super) fn new(now: Instant, terms: Terms, request: &Request, reply: R) -> Window<R> {
        let held = Held {
            rid: request.rid,
            reply,
            until: now + Duration::from_secs(MOST_WAIT_SECONDS),
            repeats: 0,
        };
        Window {
            terms,
            creating: true,
            next: request.rid + 1,
            early: BTreeMap::new(),
            held: VecDeque::from([held]),
            sent: VecDeque::new(),
            given: 0,
            confirmed: 0,
            key: request.new_key.clone(),
            idle_since: now,
            idle_for: terms.inactivity(),
            empty_poll: None,
        }
    }

    /// A request has come.
    ///
    /// # Errors
    /// It breaks the rules of the session.
    pub(super) fn arrive(
        &mut self,
        now: Instant,
        request: Request,
        reply: R,
    ) -> Result<Turn<R>, Broken<R>> {
        if request.rid < self.next || self.early.contains_key(&request.rid) {
            return self.repeated(request.rid, reply);
        }
        // §14.2; one more may pause or end the session (§11).
        let extra = u64::from(request.pause.is_some() || request.terminate);
        if request.rid >= self.next + self.terms.requests() as u64 + extra {
            let condition = Condition::ItemNotFound;
            return Err(Broken { condition, reply });
        }
        self.early.insert(request.rid, (request, reply));
        let mut turn = Turn {
            taken: Vec::new(),
            answers: Vec::new(),
        };
        while let Some((request, reply)) = self.early.remove(&self.next) {
            self.take(now, request, reply, &mut turn)?;
        }
        Ok(turn)
    }

    /// It is this request's turn.
    fn take(
        &mut self,
        now: Instant,
        request: Request,
        reply: R,
        turn: &mut Turn<R>,
    ) -> Result<(), Broken<R>> {
        if !self.unlock(&request) {
            let condition = Condition::ItemNotFound;
            return Err(Broken { condition, reply });
        }
        if let Err(condition) = self.judge_polling(now, &request) {
            return Err(Broken { condition, reply });
        }
        self.next += 1;
        self.confirm(&request);
        self.idle_for = self.terms.inactivity();
        self.held.push_back(Held {
            rid: request.rid,
            reply,
            until: now + self.terms.wait,
            repeats: 0,
        });
        if let Some(seconds) = request.pause {
            // §10: all are answered at once, and the client may be away for longer, once.
            let pause = Duration::from_secs(seconds);
            if pause > MOST_PAUSE {
                return self.refuse_newest(Condition::PolicyViolation);
            }
            while !self.held.is_empty() {
                self.answer_oldest(now, Answer::new(), 0, &mut turn.answers);
            }
            self.idle_for = pause;
        }
        turn.taken.push(request);
        Ok(())
    }

    fn refuse_newest(&mut self, condition: Condition) -> Result<(), Broken<R>> {
        match self.held.pop_back() {
            Some(held) => Err(Broken {
                condition,
                reply: held.reply,
            }),
            None => Ok(()),
        }
    }

    /// §15.4: each key is what the one before it was made of.
    fn unlock(&mut self, request: &Request) -> bool {
        if let Some(expected) = &self.key {
            let Some(key) = &request.key else {
                return false;
            };
            let digest = Hash::Sha1.digest(&[key.as_bytes()]);
            let hex: String = digest
                .as_slice()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            if !hex.eq_ignore_ascii_case(expected) {
                return false;
            }
            self.key = Some(key.clone());
        }
        if request.new_key.is_some() {
            self.key.clone_from(&request.new_key);
        }
        true
    }

    /// §12: a client that polls must leave us time between two questions that had no answer.
    fn judge_polling(&mut self, now: Instant, request: &Request) -> Result<(), Condition> {
        let is_empty = request.payloads.is_empty()
            && !request.restart
            && !request.terminate
            && request.pause.is_none();
        if self.terms.hold > 0 || !is_empty {
            self.empty_poll = None;
            return Ok(());
        }
        let before = self.empty_poll.replace(now);
        match before {
            Some(before) if now.duration_since(before) < POLLING => Err(Condition::PolicyViolation),
            _ => Ok(()),
        }
    }

    /// What this request shows of the answers that have arrived. A client that has no more than so
    /// many requests open has received the answer to the one that many before.
    fn confirm(&mut self, request: &Request) {
        let received = match (self.terms.acks, request.ack) {
            (true, Some(rid)) => rid,
            // §9.2: without a word of it, it has all.
            (true, None) => request.rid - 1,
            (false, _) => {
                let open = self.terms.requests() as u64
                    + u64::from(request.pause.is_some() || request.terminate);
                request.rid.saturating_sub(open)
            }
        };
        for sent in &self.sent {
            if sent.rid <= received {
                self.confirmed = self.confirmed.max(sent.total);
            }
        }
    }

    /// §14.3: a request that has come before; its answer, or the connection it was on, is lost.
    fn repeated(&mut self, rid: u64, reply: R) -> Result<Turn<R>, Broken<R>> {
        let (taken, mut answers) = (Vec::new(), Vec::new());
        let again = Bytes::from(Answer::recoverable().into_bytes());
        if let Some(sent) = self.sent.iter().find(|sent| sent.rid == rid) {
            answers.push((reply, sent.body.clone()));
        } else if let Some(held) = self.held.iter_mut().find(|held| held.rid == rid) {
            held.repeats += 1;
            if held.repeats > MOST_REPEATS {
                let condition = Condition::PolicyViolation;
                return Err(Broken { condition, reply });
            }
            answers.push((std::mem::replace(&mut held.reply, reply), again));
        } else if let Some((_, waiting)) = self.early.get_mut(&rid) {
            answers.push((std::mem::replace(waiting, reply), again));
        } else {
            let condition = Condition::ItemNotFound;
            return Err(Broken { condition, reply });
        }
        Ok(Turn { taken, answers })
    }

    /// Whether there is a request that payloads can be given to.
    pub(super) fn is_open(&self) -> bool {
        !self.held.is_empty()
    }

    /// Where the answer to the oldest request goes.
    pub(super) fn oldest(&mut self) -> Option<&mut R> {
        self.held.front_mut().map(|held| &mut held.reply)
    }

    /// Whether more requests wait than may (§8): the oldest is to be answered with what there is.
    /// The one that made the session waits for the stream's features all the same.
    pub(super) fn is_overfull(&self) -> bool {
        !self.creating && self.held.len() > self.terms.hold
    }

    /// Answers the oldest request that waits with `answer`, in which there are `payloads`.
    pub(super) fn give(&mut self, now: Instant, answer: Answer, payloads: u64) -> Answers<R> {
        let mut answers = Vec::new();
        self.answer_oldest(now, answer, payloads, &mut answers);
        answers
    }

    fn answer_oldest(
        &mut self,
        now: Instant,
        answer: Answer,
        payloads: u64,
        answers: &mut Answers<R>,
    ) {
        let Some(held) = self.held.pop_front() else {
            return;
        };
        if payloads > 0 {
            self.empty_poll = None;
        }
        self.creating = false;
        self.given += payloads;
        self.idle_since = now;
        let body = Bytes::from(answer.into_bytes());
        answers.push((held.reply, body.clone()));
        self.sent.push_back(Sent {
            rid: held.rid,
            body,
            total: self.given,
        });
        // One more than may be open: the answer to a pause is among them.
        while self.sent.len() > self.terms.requests() + 1 {
            self.sent.pop_front();
        }
    }

    /// Everything that waits for an answer, in order of the requests.
    pub(super) fn into_waiting(self) -> Vec<R> {
        let held = self.held.into_iter().map(|held| held.reply);
        held.chain(self.early.into_values().map(|(_, reply)| reply))
            .collect()
    }

    /// Payloads that the client is known to have received, of all that were given.
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// When something has to be done without a request: an empty answer, or the end.
    pub(super) fn deadline(&self) -> Instant {
        match self.held.front() {
            Some(held) => held.until,
            None => self.idle_since + self.idle_for,
        }
    }

    /// The deadline has passed. Answers requests that have waited long enough; `None`: the client
    /// is gone.
    pub(super) fn late(&mut self, now: Instant) -> Option<Answers<R>> {
        if self.held.is_empty() && now >= self.idle_since + self.idle_for {
            return None;
        }
        let mut answers = Vec::new();
        while self.held.front().is_some_and(|held| held.until <= now) {
            self.answer_oldest(now, Answer::new(), 0, &mut answers);
        }
        Some(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u64 = 1_000;

    /// A session whose first request has been answered with `<features/>`.
    struct World {
        window: Window<u64>,
        now: Instant,
        replies: u64,
    }

    fn request(rid: u64) -> Request {
        Request {
            rid,
            ..Request::default()
        }
    }

    fn carrying(rid: u64, payload: &str) -> Request {
        Request {
            payloads: vec![payload.as_bytes().to_vec()],
            ..request(rid)
        }
    }

    impl World {
        fn of(creation: &Request) -> World {
            let now = Instant::now();
            let mut window = Window::new(now, Terms::of(creation), creation, 0);
            let given = window.give(now, Answer::new().carrying([&b"<features/>"[..]]), 1);
            assert_eq!(given.len(), 1);
            World {
                window,
                now,
                replies: 0,
            }
        }

        fn new() -> World {
            World::of(&request(FIRST))
        }

        fn polling() -> World {
            let creation = Request {
                hold: Some(0),
                ..request(FIRST)
            };
            World::of(&creation)
        }

        /// The rids whose turn it is, and who is answered (requests are numbered from 1).
        fn arrive(&mut self, request: Request) -> Result<(Vec<u64>, Vec<u64>), Condition> {
            self.replies += 1;
            let turn = self.window.arrive(self.now, request, self.replies);
            let mut turn = turn.map_err(|broken| broken.condition)?;
            while self.window.is_overfull() {
                turn.answers
                    .extend(self.window.give(self.now, Answer::new(), 0));
            }
            let taken = turn.taken.iter().map(|request| request.rid).collect();
            Ok((taken, turn.answers.into_iter().map(|(to, _)| to).collect()))
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    #[test]
    fn one_request_is_held_and_the_next_one_frees_it() {
        let mut world = World::new();
        assert_eq!(
            world.arrive(request(FIRST + 1)),
            Ok((vec![FIRST + 1], vec![]))
        );
        assert!(world.window.is_open());
        assert_eq!(
            world.arrive(request(FIRST + 2)),
            Ok((vec![FIRST + 2], vec![1]))
        );
    }

    #[test]
    fn requests_are_taken_in_their_order_whichever_comes_first() {
        let mut world = World::new();
        assert_eq!(
            world.arrive(carrying(FIRST + 2, "<b/>")),
            Ok((vec![], vec![]))
        );
        let turn = world.arrive(carrying(FIRST + 1, "<a/>"));
        assert_eq!(turn, Ok((vec![FIRST + 1, FIRST + 2], vec![2])));
    }

    #[test]
    fn a_request_outside_of_the_window_ends_the_session() {
        for (rid, good) in [(FIRST + 2, true), (FIRST + 3, false), (FIRST - 1, false)] {
            let mut world = World::new();
            let outcome = world.arrive(request(rid));
            assert_eq!(outcome.is_ok(), good, "{rid}");
            if !good {
                assert_eq!(outcome, Err(Condition::ItemNotFound));
            }
        }
        // One more may pause or end the session.
        let mut world = World::new();
        let end = Request {
            terminate: true,
            ..request(FIRST + 3)
        };
        assert_eq!(world.arrive(end), Ok((vec![], vec![])));
    }

    #[test]
    fn a_lost_answer_is_given_again_and_an_old_one_is_not_kept() {
        let mut world = World::new();
        world.arrive(request(FIRST + 1)).unwrap();
        let answer = Answer::new().carrying([&b"<m/>"[..]]);
        let first = world.window.give(world.now, answer, 1);
        let again = world
            .window
            .arrive(world.now, request(FIRST + 1), 9)
            .unwrap();
        assert_eq!(again.answers, [(9, first[0].1.clone())]);
        assert!(again.taken.is_empty(), "its payloads are not taken twice");
        for rid in FIRST + 2..FIRST + 6 {
            world.arrive(request(rid)).unwrap();
        }
        assert_eq!(
            world.arrive(request(FIRST + 1)),
            Err(Condition::ItemNotFound)
        );
        assert!(world.window.sent.len() <= 3);
    }

    #[test]
    fn a_request_sent_again_while_it_waits_takes_the_place_of_the_first_but_not_for_ever() {
        let mut world = World::new();
        world.arrive(request(FIRST + 1)).unwrap();
        assert_eq!(world.arrive(request(FIRST + 1)), Ok((vec![], vec![1])));
        let given = world.window.give(world.now, Answer::new(), 0);
        assert_eq!(given[0].0, 2);
        world.arrive(request(FIRST + 2)).unwrap();
        for _ in 0..MOST_REPEATS {
            world.arrive(request(FIRST + 2)).unwrap();
        }
        let once_more = world.arrive(request(FIRST + 2));
        assert_eq!(once_more, Err(Condition::PolicyViolation));
    }

    #[test]
    fn nothing_counts_as_received_before_a_later_request_shows_it() {
        let mut world = World::new();
        assert_eq!(world.window.confirmed(), 0);
        world.arrive(request(FIRST + 1)).unwrap();
        // It may have been sent before the features came.
        assert_eq!(world.window.confirmed(), 0);
        world.window.give(world.now, Answer::new(), 4);
        world.arrive(request(FIRST + 2)).unwrap();
        assert_eq!(world.window.confirmed(), 1);
        world.window.give(world.now, Answer::new(), 0);
        world.arrive(request(FIRST + 3)).unwrap();
        assert_eq!(world.window.confirmed(), 5);
    }

    #[test]
    fn a_client_that_acknowledges_is_taken_at_its_word() {
        let creation = Request {
            ack: Some(1),
            ..request(FIRST)
        };
        let mut world = World::of(&creation);
        let behind = Request {
            ack: Some(FIRST - 1),
            ..request(FIRST + 1)
        };
        world.arrive(behind).unwrap();
        assert_eq!(world.window.confirmed(), 0);
        world.arrive(request(FIRST + 2)).unwrap();
        assert_eq!(world.window.confirmed(), 1);
    }

    #[test]
    fn a_held_request_is_answered_in_time_and_a_silent_client_is_gone() {
        let mut world = World::new();
        world.arrive(request(FIRST + 1)).unwrap();
        world.pass(59);
        assert_eq!(world.window.late(world.now).unwrap().len(), 0);
        world.pass(1);
        assert_eq!(world.window.late(world.now).unwrap().len(), 1);
        world.pass(INACTIVITY.as_secs() - 1);
        assert!(world.window.late(world.now).is_some());
        world.pass(1);
        assert!(world.window.late(world.now).is_none());
    }

    #[test]
    fn a_pause_answers_everything_and_lets_the_client_be_away_once() {
        let mut world = World::new();
        world.arrive(request(FIRST + 1)).unwrap();
        let pause = |rid, seconds| Request {
            pause: Some(seconds),
            ..request(rid)
        };
        let (_, answered) = world.arrive(pause(FIRST + 2, 100)).unwrap();
        assert_eq!(answered, [1, 2]);
        world.pass(99);
        assert!(world.window.late(world.now).is_some());
        world.arrive(request(FIRST + 3)).unwrap();
        world.window.give(world.now, Answer::new(), 0);
        world.pass(INACTIVITY.as_secs());
        assert!(world.window.late(world.now).is_none());

        let mut world = World::new();
        let too_long = world.arrive(pause(FIRST + 1, MOST_PAUSE.as_secs() + 1));
        assert_eq!(too_long, Err(Condition::PolicyViolation));
    }

    #[test]
    fn who_polls_is_answered_at_once_and_must_not_poll_too_often() {
        let mut world = World::polling();
        assert_eq!(
            world.arrive(request(FIRST + 1)),
            Ok((vec![FIRST + 1], vec![1]))
        );
        world.pass(POLLING.as_secs());
        world.arrive(request(FIRST + 2)).unwrap();
        // What carries something may come at any time.
        world.arrive(carrying(FIRST + 3, "<a/>")).unwrap();
        world.arrive(request(FIRST + 4)).unwrap();
        world.pass(POLLING.as_secs() - 1);
        assert_eq!(
            world.arrive(request(FIRST + 5)),
            Err(Condition::PolicyViolation)
        );
    }

    /// §15.4: the keys are those of the examples; SHA-1 of each is the one before it.
    #[test]
    fn keys_have_to_follow_each_other() {
        let hash = |text: &str| {
            let digest = Hash::Sha1.digest(&[text.as_bytes()]);
            let bytes = digest.as_slice().iter();
            bytes.map(|byte| format!("{byte:02X}")).collect::<String>()
        };
        let (last, mut keys) = (hash("seed"), Vec::new());
        keys.push(last);
        for at in 0..2 {
            keys.push(hash(&keys[at].to_lowercase()).to_lowercase());
        }
        let creation = Request {
            new_key: Some(keys[2].clone()),
            ..request(FIRST)
        };
        let with = |rid, key: Option<&str>| Request {
            key: key.map(str::to_owned),
            ..request(rid)
        };
        let mut world = World::of(&creation);
        world.arrive(with(FIRST + 1, Some(&keys[1]))).unwrap();
        world
            .arrive(with(FIRST + 2, Some(&keys[0].to_lowercase())))
            .unwrap();
        assert_eq!(
            world.arrive(with(FIRST + 3, Some("guess"))),
            Err(Condition::ItemNotFound)
        );
        let mut world = World::of(&creation);
        assert_eq!(
            world.arrive(with(FIRST + 1, None)),
            Err(Condition::ItemNotFound)
        );
    }
}
