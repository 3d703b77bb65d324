//! Accounts on a store in memory: what is kept, what is told, and to whom.

use std::sync::atomic::{AtomicU64, Ordering};

use posthaste_kv::memory::MemoryKv;
use posthaste_proto::sasl::{HtBinding, ht};
use posthaste_proto::stream::server::{ClientId, IssuedToken, TokenProof, TokenVerdict};

use super::*;

const DAY_MS: u64 = 24 * 3_600_000;

/// A clock that stands until it is moved, and randomness that never repeats.
#[derive(Default)]
struct World(AtomicU64);

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

impl Entropy for World {
    fn fill(&self, bytes: &mut [u8]) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        for (byte, value) in bytes.iter_mut().zip(next.to_le_bytes().into_iter().cycle()) {
            *byte = value;
        }
    }
}

struct Fixture {
    world: Arc<World>,
    accounts: Accounts,
}

fn fixture_on(kv: Arc<MemoryKv>) -> Fixture {
    let world = Arc::new(World::default());
    let settings = Settings {
        iterations: 4096,
        ..Settings::default()
    };
    let accounts = Accounts::new(kv, world.clone(), world.clone(), settings);
    Fixture { world, accounts }
}

fn fixture() -> Fixture {
    fixture_on(Arc::new(MemoryKv::new()))
}

impl Fixture {
    fn advance(&self, millis: u64) {
        self.world.0.fetch_add(millis, Ordering::Relaxed);
    }
}

fn jid(text: &str) -> BareJid {
    BareJid::parse(text).unwrap()
}

fn client() -> ClientId {
    ClientId::parse("d4565fa7-4d72-4749-b3d3-740edbf87770").unwrap()
}

#[tokio::test]
async fn an_account_is_made_once_and_opened_by_its_password_only() {
    let Fixture { accounts, .. } = fixture();
    let romeo = jid("romeo@a.example");
    assert!(!accounts.exists(&romeo).await.unwrap());
    accounts.create(&romeo, &"secret".into()).await.unwrap();
    assert!(accounts.exists(&romeo).await.unwrap());
    let again = accounts.create(&romeo, &"other".into()).await;
    assert!(matches!(again, Err(AccountError::Exists)));
    assert!(
        accounts
            .verify_password(&romeo, "secret".into())
            .await
            .unwrap()
    );
    assert!(
        !accounts
            .verify_password(&romeo, "other".into())
            .await
            .unwrap()
    );
    for hash in Hash::ALL {
        let keys = accounts.keys(&romeo, hash).await.unwrap();
        assert!(keys.is_password(&"secret".into()), "{hash:?}");
    }
}

#[tokio::test]
async fn two_registrations_of_one_name_at_once_give_one_account() {
    let Fixture { accounts, .. } = fixture();
    let romeo = jid("romeo@a.example");
    let (first, second) = ("first".into(), "second".into());
    let (one, two) = tokio::join!(
        accounts.create(&romeo, &first),
        accounts.create(&romeo, &second)
    );
    assert!(one.is_ok() != two.is_ok());
    let password = if one.is_ok() { "first" } else { "second" };
    assert!(
        accounts
            .verify_password(&romeo, password.into())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn what_cannot_be_an_account_or_a_password_is_refused() {
    let Fixture { accounts, .. } = fixture();
    let host = accounts.create(&jid("a.example"), &"secret".into()).await;
    assert!(matches!(host, Err(AccountError::NoLocalpart)));
    let empty = accounts.create(&jid("romeo@a.example"), &"".into()).await;
    assert!(matches!(
        empty,
        Err(AccountError::Password(PasswordError::Empty))
    ));
    assert!(!accounts.exists(&jid("romeo@a.example")).await.unwrap());
}

#[tokio::test]
async fn an_account_that_does_not_exist_shows_the_same_keys_every_time() {
    let kv = Arc::new(MemoryKv::new());
    let romeo = jid("nobody@a.example");
    let keys = fixture_on(kv.clone())
        .accounts
        .keys(&romeo, Hash::Sha256)
        .await
        .unwrap();
    // After a restart, too.
    let Fixture { accounts, .. } = fixture_on(kv);
    assert_eq!(accounts.keys(&romeo, Hash::Sha256).await.unwrap(), keys);
    assert_eq!((keys.iterations, keys.salt.len()), (4096, SALT_BYTES));
    assert!(
        !accounts
            .verify_password(&romeo, "secret".into())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_new_password_ends_the_old_one_and_every_token() {
    let Fixture { accounts, .. } = fixture();
    let romeo = jid("romeo@a.example");
    let nobody = accounts.change_password(&romeo, &"new".into()).await;
    assert!(matches!(nobody, Err(AccountError::NotFound)));
    accounts.create(&romeo, &"old".into()).await.unwrap();
    let token = accounts
        .issue_token(&romeo, &client(), HtBinding::None)
        .await
        .unwrap();
    accounts
        .change_password(&romeo, &"new".into())
        .await
        .unwrap();
    assert!(
        !accounts
            .verify_password(&romeo, "old".into())
            .await
            .unwrap()
    );
    assert!(
        accounts
            .verify_password(&romeo, "new".into())
            .await
            .unwrap()
    );
    assert!(is_invalid(&accounts, &proof(&token)).await);
}

#[tokio::test]
async fn accounts_are_listed_by_host_and_page() {
    let Fixture { accounts, .. } = fixture();
    for name in [
        "b@b.example",
        "a@a.example",
        "a@ab.example",
        "b@a.example",
        "c@a.example",
    ] {
        accounts.create(&jid(name), &"secret".into()).await.unwrap();
    }
    accounts.remove(&jid("b@a.example")).await.unwrap();
    let list = async |host, after: Option<&str>, limit| {
        let after = after.map(jid);
        let found = accounts.list(host, after.as_ref(), limit).await.unwrap();
        found
            .iter()
            .map(BareJid::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        list(Some("a.example"), None, 10).await,
        "a@a.example c@a.example"
    );
    let all = "a@a.example c@a.example a@ab.example b@b.example";
    assert_eq!(list(None, None, 10).await, all);
    assert_eq!(list(None, None, 1).await, "a@a.example");
    assert_eq!(
        list(None, Some("a@a.example"), 2).await,
        "c@a.example a@ab.example"
    );
    assert_eq!(list(None, Some("b@b.example"), 2).await, "");
}

#[tokio::test]
async fn a_removed_account_leaves_nothing() {
    let kv = Arc::new(MemoryKv::new());
    let Fixture { accounts, .. } = fixture_on(kv.clone());
    let romeo = jid("romeo@a.example");
    accounts.create(&romeo, &"secret".into()).await.unwrap();
    let token = accounts
        .issue_token(&romeo, &client(), HtBinding::None)
        .await
        .unwrap();
    accounts.remove(&romeo).await.unwrap();
    let partition = partition(&romeo).unwrap();
    assert!(
        kv.scan(&partition, Scan::prefix(b"", 10))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        !accounts
            .verify_password(&romeo, "secret".into())
            .await
            .unwrap()
    );
    assert!(is_invalid(&accounts, &proof(&token)).await);
    assert!(matches!(
        accounts.remove(&romeo).await,
        Err(AccountError::NotFound)
    ));
}

#[tokio::test]
async fn an_account_survives_a_power_cut_once_it_was_made() {
    let kv = Arc::new(MemoryKv::manual());
    let Fixture { accounts, .. } = fixture_on(kv.clone());
    let romeo = jid("romeo@a.example");
    let password = "secret".into();
    let create = accounts.create(&romeo, &password);
    let durable = async {
        loop {
            kv.make_durable();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        made = create => made.unwrap(),
        () = durable => unreachable!("it goes on for ever"),
    }
    let Fixture { accounts, .. } = fixture_on(Arc::new(kv.after_power_cut()));
    let listed = accounts.list(None, None, 10).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&romeo));
    assert!(accounts.exists(&romeo).await.unwrap());
}

fn proof(token: &IssuedToken) -> TokenProof {
    TokenProof {
        account: jid("romeo@a.example"),
        client: client(),
        mechanism: HtBinding::None,
        binding: Vec::new(),
        initiator: ht::initiator(token.token.expose(), &[]),
        count: None,
        invalidate: false,
        rotate: true,
    }
}

async fn is_invalid(accounts: &Accounts, proof: &TokenProof) -> bool {
    matches!(
        accounts.verify_token(proof).await.unwrap(),
        TokenVerdict::Invalid
    )
}

/// Logs in by token; the successor if there is one.
async fn login(accounts: &Accounts, proof: &TokenProof) -> Option<IssuedToken> {
    match accounts.verify_token(proof).await.unwrap() {
        TokenVerdict::Valid { rotated, .. } => rotated,
        verdict => panic!("{verdict:?}"),
    }
}

async fn with_token(mechanism: HtBinding) -> (Fixture, IssuedToken) {
    let fixture = fixture();
    let romeo = jid("romeo@a.example");
    fixture
        .accounts
        .create(&romeo, &"secret".into())
        .await
        .unwrap();
    let token = fixture
        .accounts
        .issue_token(&romeo, &client(), mechanism)
        .await
        .unwrap();
    (fixture, token)
}

#[tokio::test]
async fn a_token_logs_in_its_own_client_by_its_own_mechanism_only() {
    let (Fixture { accounts, .. }, token) = with_token(HtBinding::None).await;
    let TokenVerdict::Valid { responder, rotated } =
        accounts.verify_token(&proof(&token)).await.unwrap()
    else {
        panic!("the token is good");
    };
    assert_eq!(responder, ht::responder(token.token.expose(), &[]));
    assert!(rotated.is_none(), "it is new");
    let others = [
        TokenProof {
            account: jid("juliet@a.example"),
            ..proof(&token)
        },
        TokenProof {
            client: ClientId::parse("00000000-4d72-4749-b3d3-740edbf87770").unwrap(),
            ..proof(&token)
        },
        TokenProof {
            mechanism: HtBinding::Exporter,
            ..proof(&token)
        },
        TokenProof {
            binding: vec![1],
            ..proof(&token)
        },
        TokenProof {
            initiator: ht::initiator("guess", &[]),
            ..proof(&token)
        },
    ];
    for other in others {
        assert!(is_invalid(&accounts, &other).await, "{other:?}");
    }
}

#[tokio::test]
async fn a_bound_token_needs_its_channel() {
    let (Fixture { accounts, .. }, token) = with_token(HtBinding::Exporter).await;
    let bound = |binding: &[u8]| TokenProof {
        mechanism: HtBinding::Exporter,
        initiator: ht::initiator(token.token.expose(), binding),
        binding: binding.to_vec(),
        ..proof(&token)
    };
    assert!(login(&accounts, &bound(&[7; 32])).await.is_none());
    // Relayed by a man in the middle: the proof is for his channel, not for ours.
    let relayed = TokenProof {
        binding: vec![8; 32],
        ..bound(&[7; 32])
    };
    assert!(is_invalid(&accounts, &relayed).await);
}

#[tokio::test]
async fn a_token_ends_in_time() {
    let (fixture, token) = with_token(HtBinding::None).await;
    fixture.advance(60 * DAY_MS - 1);
    assert!(login(&fixture.accounts, &proof(&token)).await.is_some());
    fixture.advance(1);
    let verdict = fixture.accounts.verify_token(&proof(&token)).await.unwrap();
    assert!(matches!(verdict, TokenVerdict::Expired), "{verdict:?}");
    assert_eq!(token.expiry, "1970-03-02T00:00:00.000Z");
}

#[tokio::test]
async fn a_token_is_good_until_its_successor_is_used() {
    let (fixture, first) = with_token(HtBinding::None).await;
    let accounts = &fixture.accounts;
    assert!(login(accounts, &proof(&first)).await.is_none());
    fixture.advance(DAY_MS);
    // The answer with the successor is lost: the client uses the old one again.
    let lost = login(accounts, &proof(&first)).await.unwrap();
    let second = login(accounts, &proof(&first)).await.unwrap();
    assert!(
        is_invalid(accounts, &proof(&lost)).await,
        "it was never used"
    );
    assert!(login(accounts, &proof(&second)).await.is_none());
    assert!(is_invalid(accounts, &proof(&first)).await);
}

#[tokio::test]
async fn a_token_that_signs_out_is_good_for_nothing() {
    let (Fixture { accounts, .. }, token) = with_token(HtBinding::None).await;
    let sign_out = TokenProof {
        invalidate: true,
        rotate: false,
        ..proof(&token)
    };
    assert!(login(&accounts, &sign_out).await.is_none());
    assert!(is_invalid(&accounts, &proof(&token)).await);
}

#[tokio::test]
async fn a_replayed_count_is_refused() {
    let (Fixture { accounts, .. }, token) = with_token(HtBinding::None).await;
    let counted = |count| TokenProof {
        count: Some(count),
        ..proof(&token)
    };
    assert!(login(&accounts, &counted(5)).await.is_none());
    assert!(is_invalid(&accounts, &counted(5)).await);
    assert!(is_invalid(&accounts, &counted(4)).await);
    assert!(login(&accounts, &counted(6)).await.is_none());
}

#[tokio::test]
async fn two_replays_at_once_give_one_login() {
    let (Fixture { accounts, .. }, token) = with_token(HtBinding::None).await;
    let counted = TokenProof {
        count: Some(5),
        ..proof(&token)
    };
    let (one, two) = tokio::join!(
        accounts.verify_token(&counted),
        accounts.verify_token(&counted)
    );
    let valid = [one.unwrap(), two.unwrap()]
        .iter()
        .filter(|verdict| matches!(verdict, TokenVerdict::Valid { .. }))
        .count();
    assert_eq!(valid, 1);
}

#[tokio::test]
async fn an_account_holds_tokens_of_so_many_clients() {
    let (fixture, first) = with_token(HtBinding::None).await;
    for number in 0..60 {
        fixture.advance(1);
        let client = ClientId::parse(&format!("{number:08}-4d72-4749-b3d3-740edbf87770")).unwrap();
        let romeo = jid("romeo@a.example");
        fixture
            .accounts
            .issue_token(&romeo, &client, HtBinding::None)
            .await
            .unwrap();
    }
    assert!(
        is_invalid(&fixture.accounts, &proof(&first)).await,
        "the oldest has made room"
    );
    let rows = fixture
        .accounts
        .kv
        .scan(
            &partition(&jid("romeo@a.example")).unwrap(),
            Scan::prefix(tables::FAST, 100),
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 50);
}

/// XEP-0480: only what is missing or weaker, and only while the password is still the same.
#[tokio::test]
async fn keys_are_upgraded_while_the_password_they_come_from_is_in_force() {
    let Fixture { accounts, .. } = fixture();
    let romeo = jid("romeo@a.example");
    accounts.create(&romeo, &"secret".into()).await.unwrap();
    let proven = accounts.keys(&romeo, Hash::Sha1).await.unwrap();
    let wanted = [Hash::Sha256, Hash::Sha512];
    let upgrades = accounts.upgrades(&romeo, &proven, &wanted).await.unwrap();
    assert!(upgrades.is_empty(), "they are as good as they get");

    accounts.reconfigure(Settings {
        iterations: 5_000,
        ..Settings::default()
    });
    let upgrades = accounts.upgrades(&romeo, &proven, &wanted).await.unwrap();
    let asked: Vec<_> = upgrades.iter().map(|u| (u.hash, u.iterations)).collect();
    assert_eq!(asked, [(Hash::Sha256, 5_000), (Hash::Sha512, 5_000)]);

    let better =
        StoredKeys::derive(Hash::Sha256, &"secret".into(), &upgrades[0].salt, 5_000).unwrap();
    accounts.upgrade(&romeo, &proven, &better).await.unwrap();
    assert_eq!(accounts.keys(&romeo, Hash::Sha256).await.unwrap(), better);
    assert_eq!(accounts.keys(&romeo, Hash::Sha1).await.unwrap(), proven);

    // Somebody who knew the former password does not get in by keys made of it.
    accounts
        .change_password(&romeo, &"changed".into())
        .await
        .unwrap();
    accounts.upgrade(&romeo, &proven, &better).await.unwrap();
    assert_ne!(accounts.keys(&romeo, Hash::Sha256).await.unwrap(), better);
    let late = accounts.upgrades(&romeo, &proven, &wanted).await.unwrap();
    assert!(late.is_empty());
}
