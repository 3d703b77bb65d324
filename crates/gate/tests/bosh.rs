//! BOSH (XEP-0124, XEP-0206) over a socket, request by request.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod harness;

use base64::Engine as _;
use harness::{PATIENCE, Transport, World, ping};
use posthaste_gate::{Limits, ListenerKind, TransportKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

const NS: &str = "xmlns='http://jabber.org/protocol/httpbind'";
const FIRST_RID: u64 = 1_573_741_820;

/// The whole answer to one request with this head and body.
async fn exchange(world: &World, head: &str, body: &str) -> String {
    let mut tcp = world.tcp(ListenerKind::Http).await;
    let length = body.len();
    let request = format!(
        "{head} /http-bind HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE * 4, tcp.read_to_string(&mut answer))
        .await
        .unwrap_or_else(|_| panic!("no answer to {body}"))
        .unwrap();
    answer
}

async fn post(world: &World, body: &str) -> String {
    let answer = exchange(world, "POST", body).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn attribute(xml: &str, name: &str) -> String {
    let start = xml
        .find(&format!(" {name}='"))
        .unwrap_or_else(|| panic!("no {name} in {xml}"));
    let value = &xml[start + name.len() + 3..];
    value[..value.find('\'').unwrap()].to_owned()
}

/// A session, and the number of its last request.
struct Client<'a> {
    world: &'a World,
    sid: String,
    rid: u64,
}

impl<'a> Client<'a> {
    /// A new session; its first answer.
    async fn create(world: &'a World, more: &str) -> (Client<'a>, String) {
        let rid = FIRST_RID;
        let answer = post(
            world,
            &format!(
                "<body rid='{rid}' to='example.org' wait='60' hold='1' ver='1.6' xml:lang='en' \
                 xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh' {more} {NS}/>"
            ),
        )
        .await;
        let sid = attribute(&answer, "sid");
        (Client { world, sid, rid }, answer)
    }

    fn wrapper(&self, rid: u64, more: &str, payload: &str) -> String {
        let sid = &self.sid;
        format!("<body rid='{rid}' sid='{sid}' {more} {NS}>{payload}</body>")
    }

    /// Sends a request and waits for its answer.
    async fn ask(&mut self, more: &str, payload: &str) -> String {
        self.rid += 1;
        post(self.world, &self.wrapper(self.rid, more, payload)).await
    }

    async fn say(&mut self, payload: &str) -> String {
        self.ask("", payload).await
    }

    /// Asks until `end` has come.
    async fn until(&mut self, mut heard: String, end: &str) -> String {
        while !heard.contains(end) {
            let more = self.say("").await;
            assert!(!more.contains("terminate"), "{more} after {heard}");
            heard.push_str(&more);
        }
        heard
    }

    async fn online(world: &'a World, user: &str) -> Client<'a> {
        let (mut client, _) = Client::create(world, "").await;
        client.log_in(user).await;
        let heard = client
            .say(&format!(
                "<presence xmlns='jabber:client'/>{}",
                ping("here")
            ))
            .await;
        client.until(heard, "id='here'").await;
        client
    }

    async fn log_in(&mut self, user: &str) {
        let credentials = format!("\0{user}\0secret");
        let credentials = base64::engine::general_purpose::STANDARD.encode(credentials);
        let auth = format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{credentials}</auth>"
        );
        let answer = self.say(&auth).await;
        assert!(answer.contains("<success "), "{answer}");
        let restart = "to='example.org' xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'";
        let answer = self.ask(restart, "").await;
        assert!(answer.contains("<bind "), "{answer}");
        let bind = "<iq xmlns='jabber:client' type='set' id='bind'>\
            <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>web</resource></bind></iq>";
        let answer = self.say(bind).await;
        assert!(
            answer.contains(&format!("<jid>{user}@example.org/web</jid>")),
            "{answer}"
        );
    }
}

fn message(to: &str, body: &str) -> String {
    format!(
        "<message xmlns='jabber:client' to='{to}@example.org' type='chat'><body>{body}</body></message>"
    )
}

#[tokio::test]
async fn a_session_is_made_as_in_the_examples() {
    let world = World::new().await;
    let (_client, answer) = Client::create(&world, "").await;
    for (name, value) in [
        ("wait", "60"),
        ("hold", "1"),
        ("requests", "2"),
        ("inactivity", "30"),
        ("ver", "1.6"),
        ("from", "example.org"),
        ("xmpp:version", "1.0"),
        ("xmpp:restartlogic", "true"),
    ] {
        assert_eq!(attribute(&answer, name), value, "{answer}");
    }
    assert!(!attribute(&answer, "authid").is_empty());
    assert!(answer.contains("<stream:features"), "{answer}");
    assert!(answer.contains("<mechanism>SCRAM-SHA-256</mechanism>"));
    // TLS is HTTP's, and nothing can be bound to it.
    assert!(
        !answer.contains("-PLUS") && !answer.contains("starttls"),
        "{answer}"
    );
}

#[tokio::test]
async fn romeo_on_bosh_and_juliet_on_tls_talk_both_ways() {
    let world = World::new().await;
    let mut romeo = Client::online(&world, "romeo").await;
    let mut juliet = world
        .online(Transport::DirectTls, "juliet", "balcony")
        .await;
    // Stanzas without a namespace of their own, as many clients send them.
    let out = "<message to='juliet@example.org' type='chat'><body>O, speak again</body></message>";
    let answering = romeo.say(out);
    let talking = async {
        let heard = juliet.until("</message>").await;
        assert!(heard.contains("<body>O, speak again</body>"), "{heard}");
        assert!(heard.contains("from='romeo@example.org/web'"), "{heard}");
        juliet.send(&message("romeo", "Romeo, Romeo")).await;
    };
    let (answer, ()) = tokio::join!(answering, talking);
    let heard = romeo.until(answer, "</message>").await;
    assert!(heard.contains("<body>Romeo, Romeo</body>"), "{heard}");
    // What the server manages for the client, the client does not see.
    assert!(!heard.contains("urn:xmpp:sm:3"), "{heard}");
    assert_eq!(world.gate().stats().open(TransportKind::Bosh), 1);
}

#[tokio::test]
async fn requests_that_overtake_each_other_are_taken_in_order() {
    let world = World::new().await;
    let mut romeo = Client::online(&world, "romeo").await;
    let mut juliet = world
        .online(Transport::DirectTls, "juliet", "balcony")
        .await;
    let first = romeo.wrapper(romeo.rid + 1, "", &message("juliet", "first"));
    let second = romeo.wrapper(romeo.rid + 2, "", &message("juliet", "second"));
    romeo.rid += 2;
    let late = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        post(&world, &first).await
    };
    let heard = async {
        let one = juliet.until("</message>").await;
        let two = juliet.until("</message>").await;
        juliet.send(&message("romeo", "heard")).await;
        (one, two)
    };
    let (_, _, (one, two)) = tokio::join!(late, post(&world, &second), heard);
    assert!(one.contains("<body>first</body>"), "{one}");
    assert!(two.contains("<body>second</body>"), "{two}");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again() {
    let world = World::new().await;
    let mut romeo = Client::online(&world, "romeo").await;
    let request = romeo.wrapper(romeo.rid + 1, "", &ping("again"));
    romeo.rid += 1;
    let first = post(&world, &request).await;
    let second = post(&world, &request).await;
    assert_eq!(first, second);
    assert!(first.contains("id='again'"), "{first}");
    let other = romeo.say(&ping("other")).await;
    romeo.until(other, "id='other'").await;
}

/// What Romeo was given in an answer that he did not show to have received, he gets when he comes
/// back, and what he showed he does not.
#[tokio::test]
async fn nothing_is_lost_with_a_session_and_nothing_confirmed_comes_twice() {
    let world = World::new().await;
    let mut juliet = world
        .online(Transport::DirectTls, "juliet", "balcony")
        .await;
    let mut romeo = Client::online(&world, "romeo").await;
    juliet.send(&message("romeo", "one")).await;
    romeo.until(String::new(), "<body>one</body>").await;
    for id in ["a", "b", "c"] {
        let heard = romeo.say(&ping(id)).await;
        romeo.until(heard, &format!("id='{id}'")).await;
    }
    juliet.send(&message("romeo", "two")).await;
    romeo.until(String::new(), "<body>two</body>").await;
    // The session is lost: it broke the rules, and not by the client's end.
    let rid = romeo.rid + 100;
    let end = post(&world, &romeo.wrapper(rid, "", "")).await;
    assert!(end.contains("condition='item-not-found'"), "{end}");

    let mut again = world.connect(Transport::DirectTls).await;
    again.log_in("romeo", "phone").await;
    again.send("<presence xmlns='jabber:client'/>").await;
    let heard = again.until("<body>two</body>").await;
    assert!(!heard.contains("<body>one</body>"), "{heard}");
}

#[tokio::test]
async fn a_client_ends_its_session() {
    let world = World::new().await;
    let mut juliet = world
        .online(Transport::DirectTls, "juliet", "balcony")
        .await;
    let mut romeo = Client::online(&world, "romeo").await;
    let last = message("juliet", "farewell");
    let end = romeo.ask("type='terminate'", &last).await;
    assert!(
        end.contains("type='terminate'") && !end.contains("condition"),
        "{end}"
    );
    juliet.until("<body>farewell</body>").await;
    let gone = romeo.say("").await;
    assert!(gone.contains("condition='item-not-found'"), "{gone}");
}

#[tokio::test]
async fn a_client_that_manages_its_stream_itself_does_so_and_resumes() {
    let world = World::new().await;
    let (mut romeo, _) = Client::create(&world, "").await;
    romeo.log_in("romeo").await;
    let enabled = romeo
        .say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        .await;
    assert!(enabled.contains("<enabled "), "{enabled}");
    let id = attribute(&enabled, "id");
    let end = post(&world, &romeo.wrapper(romeo.rid + 100, "", "")).await;
    assert!(end.contains("terminate"), "{end}");

    let (mut again, _) = Client::create(&world, "").await;
    let credentials = base64::engine::general_purpose::STANDARD.encode("\0romeo\0secret");
    again
        .say(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{credentials}</auth>"
        ))
        .await;
    again
        .ask("xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "")
        .await;
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>");
    let resumed = again.say(&resume).await;
    assert!(resumed.contains("<resumed "), "{resumed}");
}

#[tokio::test]
async fn a_large_stanza_goes_through_after_log_in_only() {
    let world = World::new().await;
    let body = "x".repeat(200_000);
    let (mut romeo, _) = Client::create(&world, "").await;
    let refused = romeo.say(&message("juliet", &body)).await;
    assert!(
        refused.contains("condition='policy-violation'"),
        "{refused}"
    );
    let mut romeo = Client::online(&world, "romeo").await;
    let heard = romeo.say(&message("romeo", &body)).await;
    let heard = romeo.until(heard, "</message>").await;
    assert!(heard.contains(&body));
    let more = "x".repeat(400_000);
    let refused = romeo.say(&message("juliet", &more)).await;
    assert!(
        refused.contains("condition='policy-violation'"),
        "{refused}"
    );
}

#[tokio::test]
async fn each_wrong_request_has_its_condition() {
    let world = World::new().await;
    for (body, condition) in [
        ("no xml".to_owned(), "bad-request"),
        (format!("<body rid='1' {NS}/>"), "improper-addressing"),
        (
            format!("<body rid='1' to='elsewhere' {NS}/>"),
            "host-unknown",
        ),
        (
            format!("<body rid='1' sid='nobody' {NS}/>"),
            "item-not-found",
        ),
    ] {
        let answer = post(&world, &body).await;
        let expected = format!("type='terminate' condition='{condition}'");
        assert!(answer.contains(&expected), "{body}: {answer}");
    }
    let (mut romeo, _) = Client::create(&world, "").await;
    let error = romeo.say(&ping("too early")).await;
    assert!(error.contains("condition='remote-stream-error'"), "{error}");
    assert!(error.contains("<not-authorized "), "{error}");
}

#[tokio::test]
async fn sessions_count_as_connections_where_those_are_bounded() {
    let limits = Limits {
        connections_per_address: 3,
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let _first = Client::create(&world, "").await;
    let _second = Client::create(&world, "").await;
    let third = format!("<body rid='1' to='example.org' {NS}/>");
    let refused = post(&world, &third).await;
    assert!(
        refused.contains("condition='policy-violation'"),
        "{refused}"
    );
}

#[tokio::test]
async fn who_waits_is_told_when_the_server_goes() {
    let mut world = World::new().await;
    let gate = world.gate.take().unwrap();
    let address = gate.addresses()[2].1;
    let body = format!("<body rid='1' to='example.org' hold='1' wait='60' {NS}/>");
    let ask = |body: String| -> JoinHandle<String> {
        tokio::spawn(async move {
            let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            let length = body.len();
            let request = format!(
                "POST /http-bind HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            );
            tcp.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            tcp.read_to_string(&mut answer).await.unwrap();
            answer
        })
    };
    let created = ask(body).await.unwrap();
    let sid = attribute(&created, "sid");
    let waiting = ask(format!("<body rid='2' sid='{sid}' {NS}/>"));
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(gate.drain(PATIENCE).await, 0);
    let told = waiting.await.unwrap();
    assert!(told.contains("condition='remote-stream-error'"), "{told}");
    assert!(told.contains("<system-shutdown "), "{told}");
}

#[tokio::test]
async fn browsers_of_every_page_may_come_unless_some_are_named() {
    let world = World::new().await;
    let head = "OPTIONS";
    let answer = exchange(&world, head, "").await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(
        answer.contains("access-control-allow-origin: *"),
        "{answer}"
    );
    assert!(answer.contains("access-control-allow-methods: POST, OPTIONS"));
    let get = exchange(&world, "GET", "").await;
    assert!(get.starts_with("HTTP/1.1 405"), "{get}");
}
