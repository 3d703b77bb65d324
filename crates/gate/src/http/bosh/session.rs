//! One BOSH session: a task between the requests of its client and its stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use posthaste_proto::ns;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::Table;
use super::body::{Answer, Condition, Request};
use super::stream::{Said, Stream};
use super::window::{Answers, MOST_PAUSE, POLLING, Terms, Window};

/// Bytes of payloads that wait for a request, after which no more is taken from the stream: there
/// they are bounded like those of any client that does not read.
const WAITING_BYTES: usize = 64 * 1024;

/// The version of BOSH spoken here.
const VERSION: (u32, u32) = (1, 11);

/// Where the body of an answer goes; nowhere, if the client has hung up.
pub(super) type Reply = oneshot::Sender<Bytes>;

/// A request and where its answer goes.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) request: Request,
    pub(super) reply: Reply,
}

/// See the module comment.
pub(super) struct Session {
    sid: String,
    table: Arc<Table>,
    /// Told when the client has logged in.
    logged_in: Arc<AtomicBool>,
    stream: Stream,
    arrivals: mpsc::Receiver<Arrival>,
    window: Window<Reply>,
    terms: Terms,
    /// The host that the session is for.
    to: Option<String>,
    /// What the first answer is to say besides; it says it once.
    creation: Option<Creation>,
    /// Elements for the client, and their bytes.
    waiting: Vec<Vec<u8>>,
    waiting_bytes: usize,
    /// How the stream has ended.
    over: Option<Over>,
    /// The client has ended the session.
    terminated: bool,
}

/// What is said once (XEP-0124 §7.2, XEP-0206 §4).
#[derive(Debug, Default)]
struct Creation {
    ver: Option<String>,
    /// The stream's, when it is open.
    id: Option<String>,
    from: Option<String>,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// By `<close/>`.
    Closed,
    /// With a stream error, which waits among the payloads.
    Error,
    /// Without a word.
    Lost,
}

/// What a session waits for.
enum Event {
    Arrival(Box<Arrival>),
    /// The stream has moved.
    Stream(std::io::Result<()>),
    /// The connection on which the oldest request waits is gone.
    HungUp,
    Late,
}

impl Session {
    /// The session that `arrival` asks for, on `stream`; it has its place in `table` under `sid`.
    pub(super) fn new(
        sid: String,
        table: Arc<Table>,
        logged_in: Arc<AtomicBool>,
        mut stream: Stream,
        arrivals: mpsc::Receiver<Arrival>,
        arrival: Arrival,
    ) -> Session {
        let Arrival { request, reply } = arrival;
        let terms = Terms::of(&request);
        stream.open(&request);
        Session {
            sid,
            table,
            logged_in,
            stream,
            arrivals,
            window: Window::new(Instant::now(), terms, &request, reply),
            terms,
            to: request.to,
            creation: Some(Creation {
                ver: request.ver,
                ..Creation::default()
            }),
            waiting: Vec::new(),
            waiting_bytes: 0,
            over: None,
            terminated: false,
        }
    }

    /// Serves the client to the end of the session.
    pub(super) async fn run(mut self) {
        while !self.step().await {}
        // From here on the client is told that there is no such session.
        self.table.forget(&self.sid);
        self.leave();
    }

    /// Answers what can be answered, then waits for one thing and does what it asks for. True at
    /// the end of the session.
    async fn step(&mut self) -> bool {
        self.answer();
        if self.over.is_some() && (self.terminated || self.window.is_open()) {
            return true;
        }
        match self.event().await {
            Event::Arrival(arrival) => self.arrive(*arrival),
            Event::Stream(result) => {
                if result.is_err() {
                    self.over.get_or_insert(Over::Lost);
                    self.stream.discard();
                }
                self.hear();
                false
            }
            Event::HungUp => {
                // The client may ask for this answer again; until then the time runs in which it
                // has to be heard of.
                deliver(self.window.give(Instant::now(), Answer::new(), 0));
                false
            }
            Event::Late => {
                let answers = self.window.late(Instant::now());
                let is_gone = answers.is_none() || self.terminated;
                deliver(answers.unwrap_or_default());
                is_gone
            }
        }
    }

    async fn event(&mut self) -> Event {
        let may_listen = self.over.is_none() && self.waiting_bytes < WAITING_BYTES;
        // What the client has said before goes first.
        let may_arrive = self.stream.is_flushed();
        let deadline = self.window.deadline();
        let is_created = self.creation.is_none();
        let hung_up = async {
            match self.window.oldest() {
                Some(reply) => reply.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = self.stream.exchange(may_listen) => Event::Stream(result),
            Some(arrival) = self.arrivals.recv(), if may_arrive => {
                Event::Arrival(Box::new(arrival))
            }
            () = hung_up, if is_created => Event::HungUp,
            () = sleep_until(deadline) => Event::Late,
        }
    }

    /// A request of the client. True if it ends the session.
    fn arrive(&mut self, arrival: Arrival) -> bool {
        let Arrival { request, reply } = arrival;
        match self.window.arrive(Instant::now(), request, reply) {
            Ok(turn) => {
                deliver(turn.answers);
                self.stream.arrived(self.window.confirmed());
                for request in turn.taken {
                    self.forward(request);
                }
                false
            }
            Err(broken) => {
                let answer = Answer::terminate(Some(broken.condition));
                let _ = broken.reply.send(answer.into_bytes().into());
                true
            }
        }
    }

    fn forward(&mut self, mut request: Request) {
        if self.over.is_some() {
            return;
        }
        if request.restart {
            // XEP-0206 §5: it says again where to; some do not.
            request.to = request.to.or_else(|| self.to.clone());
            self.stream.open(&request);
        } else {
            for payload in &request.payloads {
                self.stream.say(payload);
            }
        }
        if request.terminate {
            self.stream.close();
            self.terminated = true;
        }
    }

    fn hear(&mut self) {
        while let Some(said) = self.stream.next() {
            match said {
                Said::Open { id, from } => {
                    if let Some(creation) = &mut self.creation {
                        (creation.id, creation.from) = (id, from);
                    }
                }
                Said::Payload(xml) => self.wait(xml),
                Said::Error(xml) => {
                    self.wait(xml);
                    self.over = Some(Over::Error);
                }
                Said::Close => {
                    self.over.get_or_insert(Over::Closed);
                    self.stream.discard();
                }
            }
        }
        self.logged_in
            .store(self.stream.has_session(), Ordering::Relaxed);
    }

    fn wait(&mut self, xml: Vec<u8>) {
        self.waiting_bytes += xml.len();
        self.waiting.push(xml);
    }

    /// Answers requests with what there is for the client, and those that may not be held.
    fn answer(&mut self) {
        while self.over.is_none()
            && self.window.is_open()
            && (!self.waiting.is_empty() || self.window.is_overfull())
        {
            let mut answer = Answer::new();
            if let Some(creation) = self.creation.take() {
                answer = creation.said(answer, &self.sid, self.terms);
            }
            self.give(answer);
        }
    }

    /// Gives all that waits to the oldest request.
    fn give(&mut self, answer: Answer) {
        let payloads = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let count = payloads.len() as u64;
        let answer = answer.carrying(payloads.iter().map(Vec::as_slice));
        deliver(self.window.give(Instant::now(), answer, count));
    }

    /// The last words: the oldest request learns how the session ended, all others get nothing.
    fn leave(mut self) {
        let condition = match self.over {
            _ if self.terminated => None,
            Some(Over::Error) => Some(Condition::RemoteStreamError),
            Some(Over::Closed | Over::Lost) => Some(Condition::RemoteConnectionFailed),
            None => Some(Condition::OtherRequest),
        };
        if self.window.is_open() {
            self.give(Answer::terminate(condition));
        }
        let nothing = Bytes::from(Answer::new().into_bytes());
        for reply in self.window.into_waiting() {
            let _ = reply.send(nothing.clone());
        }
    }
}

/// Sends answers on their way. One that no longer has a connection is kept by the window.
fn deliver(answers: Answers<Reply>) {
    for (reply, body) in answers {
        let _ = reply.send(body);
    }
}

impl Creation {
    fn said(self, answer: Answer, sid: &str, terms: Terms) -> Answer {
        let seconds = |duration: std::time::Duration| duration.as_secs().to_string();
        let mut answer = answer
            .with("sid", sid)
            .with("wait", &seconds(terms.wait))
            .with("hold", &terms.hold.to_string())
            .with("requests", &terms.requests().to_string())
            .with("inactivity", &seconds(terms.inactivity()))
            .with("maxpause", &seconds(MOST_PAUSE))
            .with("ver", &spoken(self.ver.as_deref()));
        if terms.hold == 0 {
            answer = answer.with("polling", &seconds(POLLING));
        }
        if let Some(from) = &self.from {
            answer = answer.with("from", from);
        }
        if let Some(id) = &self.id {
            answer = answer.with("authid", id);
        }
        answer
            .with("xmlns:xmpp", ns::XBOSH)
            .with("xmpp:version", "1.0")
            .with("xmpp:restartlogic", "true")
    }
}

/// The lower one of the client's version of BOSH and ours (XEP-0124 §7.2).
fn spoken(theirs: Option<&str>) -> String {
    let theirs = theirs.and_then(|ver| {
        let (major, minor) = ver.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    let (major, minor) = theirs.unwrap_or(VERSION).min(VERSION);
    format!("{major}.{minor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_version_is_spoken() {
        for (theirs, expected) in [
            (Some("1.6"), "1.6"),
            (Some("1.12"), "1.11"),
            (Some("2.0"), "1.11"),
            (Some("new"), "1.11"),
            (None, "1.11"),
        ] {
            assert_eq!(spoken(theirs), expected, "{theirs:?}");
        }
    }
}
