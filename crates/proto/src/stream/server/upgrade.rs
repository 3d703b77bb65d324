//! A client that has proved to know its password helps the server to better keys: SASL upgrade
//! tasks (XEP-0480 0.2.0), between the proof and `<success/>` of SASL2.
//!
//! What the server keeps of a password cannot be turned into keys of another hash, or of more
//! rounds; the client can make them, and shows no password. Only after SCRAM: a token or a
//! certificate shows no knowledge of the password, and with PLAIN nothing is left to hide.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::login::{self, Profile};
use super::sasl2::{self, Authenticate};
use super::{Answer, Ask, Next, Shared, State, Turn, Upgrade, features};
use crate::error::StreamCondition;
use crate::jid::BareJid;
use crate::ns;
use crate::sasl::{Condition, Failure, Hash, Mechanism, StoredKeys};
use crate::xml::Element;

/// The hashes that keys may be upgraded to: not the weakest.
const BETTER: [Hash; 2] = [Hash::Sha256, Hash::Sha512];

/// The hashes that this server upgrades to.
pub(super) fn offered(shared: &Shared) -> impl Iterator<Item = Hash> {
    let mechanisms = features::mechanisms(shared);
    BETTER.into_iter().filter(move |hash| {
        let uses = |mechanism: &Mechanism| matches!(mechanism, Mechanism::Scram { hash: of, .. } if of == hash);
        mechanisms.iter().any(uses)
    })
}

/// XEP-0480 §3: never the name of a -PLUS form.
pub(super) fn task_name(hash: Hash) -> String {
    format!("UPGR-{}", Mechanism::Scram { hash, plus: false }.name())
}

/// The upgrades that an `<authenticate/>` asks for, of those that are offered.
pub(super) fn requested(shared: &Shared, authenticate: &Element) -> Vec<Hash> {
    let asks_for = |hash: &Hash| {
        let name = task_name(*hash);
        let mut children = authenticate.children();
        children.any(|child| child.is("upgrade", ns::SASL_UPGRADE) && child.text().trim() == name)
    };
    offered(shared).filter(asks_for).collect()
}

/// A log-in that has succeeded, before the client is told.
#[derive(Debug)]
pub(super) struct Upgrading {
    request: Authenticate,
    mechanism: Mechanism,
    account: BareJid,
    /// What proves the server to the client, until it has been told.
    proof: Option<Vec<u8>>,
    /// The keys that the client has proved to know the password of.
    proven: StoredKeys,
    /// What is still to be done, the first at the end.
    tasks: Vec<Upgrade>,
    at: At,
}

#[derive(Debug)]
enum At {
    /// The accounts say which upgrades are worth it, or store one.
    Asked,
    /// The client has been told of a task and begins it.
    Offered(Upgrade),
    /// The client computes.
    Salted(Upgrade),
}

/// Begins the upgrades that the client wants, if there are any.
pub(super) fn begin(
    shared: &mut Shared,
    mut request: Authenticate,
    mechanism: Mechanism,
    account: BareJid,
    proof: Option<Vec<u8>>,
) -> Turn {
    let wanted = std::mem::take(&mut request.upgrades);
    let Some(proven) = request.proven.take().filter(|_| !wanted.is_empty()) else {
        return sasl2::succeed(shared, request, mechanism, account, proof);
    };
    let ask = Ask::Upgrades {
        account: account.clone(),
        proven: Box::new(proven.clone()),
        wanted,
    };
    Upgrading {
        request,
        mechanism,
        account,
        proof,
        proven,
        tasks: Vec::new(),
        at: At::Asked,
    }
    .wait(Next::Ask(ask))
}

impl Upgrading {
    fn wait(self, next: Next) -> Turn {
        Ok((State::Upgrade(Box::new(self)), next))
    }

    fn go_on(mut self, shared: &mut Shared) -> Turn {
        let Some(task) = self.tasks.pop() else {
            let Upgrading {
                request,
                mechanism,
                account,
                proof,
                ..
            } = self;
            return sasl2::succeed(shared, request, mechanism, account, proof);
        };
        let data = self.proof.take().map(|proof| {
            Element::new("additional-data", ns::SASL2).with_text(&STANDARD.encode(proof))
        });
        let name = Element::new("task", ns::SASL2).with_text(&task_name(task.hash));
        let tasks = Element::new("tasks", ns::SASL2).with_child(name);
        let go_on = Element::new("continue", ns::SASL2)
            .with_children(data)
            .with_child(tasks);
        shared.out.element(&go_on);
        self.at = At::Offered(task);
        self.wait(Next::Read)
    }

    pub(super) fn answer(mut self, shared: &mut Shared, answer: Answer) -> Turn {
        match answer {
            Answer::Upgrades(tasks) => self.tasks = tasks.into_iter().rev().collect(),
            // The log-in is good all the same.
            Answer::Proceed | Answer::Refused(_) => {}
            _ => return Err(super::mismatch()),
        }
        self.go_on(shared)
    }

    pub(super) fn element(mut self, shared: &mut Shared, element: &Element) -> Turn {
        match (element.ns(), element.name(), self.at) {
            (ns::SASL2, "next", At::Offered(task))
                if element.attr("task") == Some(task_name(task.hash).as_str()) =>
            {
                let salt = Element::new("salt", ns::SCRAM_UPGRADE)
                    .with_attr("iterations", task.iterations.to_string())
                    .with_text(&STANDARD.encode(&task.salt));
                let data = Element::new("task-data", ns::SASL2).with_child(salt);
                shared.out.element(&data);
                self.at = At::Salted(task);
                self.wait(Next::Read)
            }
            (ns::SASL2, "task-data", At::Salted(task)) => {
                let hash = element.child("hash", ns::SCRAM_UPGRADE).map(Element::text);
                let salted = hash.and_then(|text| STANDARD.decode(text.trim()).ok());
                let keys = salted.and_then(|salted| {
                    StoredKeys::from_salted(task.hash, &salted, &task.salt, task.iterations)
                });
                let Some(keys) = keys else {
                    return refuse(shared, Failure::malformed("the hash"));
                };
                let ask = Ask::Upgrade {
                    account: self.account.clone(),
                    proven: Box::new(self.proven.clone()),
                    keys: Box::new(keys.clone()),
                };
                if keys.hash == self.proven.hash {
                    self.proven = keys;
                }
                self.at = At::Asked;
                self.wait(Next::Ask(ask))
            }
            (ns::SASL2, "abort", _) => refuse(shared, Failure::new(Condition::Aborted, "")),
            // XEP-0388 §2.4: servers must disconnect clients that send anything else.
            _ => Err(StreamCondition::PolicyViolation.into()),
        }
    }
}

fn refuse(shared: &mut Shared, failure: Failure) -> Turn {
    login::tell(shared, &Profile::Sasl2(Box::default()), failure)
}
