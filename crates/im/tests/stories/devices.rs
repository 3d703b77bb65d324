//! Clients that name their installation (XEP-0388 §2.3, XEP-0386 §4).

use crate::harness::{Client, World, chat};
use posthaste_im::binding::ResourceWish;
use posthaste_proto::error::StreamCondition;
use posthaste_proto::jid::BareJid;

async fn bind(world: &World, client: &str) -> Client {
    let account = BareJid::parse("juliet@example.org").unwrap();
    let wish = ResourceWish::Tagged("phone".into());
    let bound = world.node.bind_client(&account, &wish, client).await;
    let mut client = Client {
        connection: bound.unwrap(),
    };
    client.send("<presence/>").await;
    client
}

#[tokio::test]
async fn a_client_that_comes_back_takes_over_what_its_former_session_had_not_taken() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut phone = bind(&world, "one").await;
    phone.manage_stream().await;
    romeo
        .send(&chat("juliet@example.org", "lost on the way"))
        .await;
    assert_eq!(phone.bodies().await, ["lost on the way"]);
    phone.connection.detach().await;

    let mut again = bind(&world, "one").await;
    assert_eq!(again.bodies().await, ["lost on the way"]);
}

#[tokio::test]
async fn a_session_that_its_client_has_left_behind_is_closed() {
    let world = World::new();
    let mut phone = bind(&world, "one").await;
    let mut laptop = bind(&world, "two").await;
    phone.receives_until_quiet().await;
    let again = bind(&world, "one").await;
    let (_, error) = phone.receives_within(usize::MAX).await;
    assert_eq!(error.unwrap().condition, StreamCondition::Conflict);
    let (_, error) = laptop.receives_within(usize::MAX).await;
    assert_eq!(error, None, "another client is left alone");
    let account = again.connection.jid().to_bare();
    let home = world.node.home(&account);
    assert_eq!(home.peek(|state| state.sessions.len()), Some(2));
}
