//! Presence subscriptions: who may see whom online, and who is still waiting for an answer.
//!
//! RFC 6121 §3 and its Appendix A, whole, pre-approval (§3.4) included. Pure functions: what a
//! subscription stanza means is read from the table here; storing, pushing and sending is done by
//! [`crate::ext::presence`].

use posthaste_proto::stanza::PresenceType;

/// The nine states of RFC 6121 Appendix A.1, seen from one side ("the user") of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// No subscription in either direction, and nobody has asked.
    #[default]
    None,
    /// The user has asked to see the contact and waits for an answer.
    NonePendingOut,
    /// The contact has asked to see the user, who has not answered.
    NonePendingIn,
    /// Both have asked and neither has answered.
    NonePendingOutIn,
    /// The user sees the contact.
    To,
    /// The user sees the contact, who has asked for the same.
    ToPendingIn,
    /// The contact sees the user.
    From,
    /// The contact sees the user, who has asked for the same.
    FromPendingOut,
    /// Each sees the other.
    Both,
}

impl State {
    /// Every state, in the RFC's order.
    pub const ALL: [State; 9] = [
        State::None,
        State::NonePendingOut,
        State::NonePendingIn,
        State::NonePendingOutIn,
        State::To,
        State::ToPendingIn,
        State::From,
        State::FromPendingOut,
        State::Both,
    ];

    /// Whether the user is told the contact's presence.
    pub fn sees_contact(self) -> bool {
        matches!(self, State::To | State::ToPendingIn | State::Both)
    }

    /// Whether the contact is told the user's presence.
    pub fn is_seen_by_contact(self) -> bool {
        matches!(self, State::From | State::FromPendingOut | State::Both)
    }

    /// Whether the user waits for the contact's answer: the roster's `ask='subscribe'`.
    pub fn is_pending_out(self) -> bool {
        matches!(
            self,
            State::NonePendingOut | State::NonePendingOutIn | State::FromPendingOut
        )
    }

    /// Whether the contact waits for the user's answer.
    pub fn is_pending_in(self) -> bool {
        matches!(
            self,
            State::NonePendingIn | State::NonePendingOutIn | State::ToPendingIn
        )
    }

    /// The roster item's `subscription` attribute (RFC 6121 §2.1.2.5).
    pub fn attribute(self) -> &'static str {
        match self {
            State::None
            | State::NonePendingOut
            | State::NonePendingIn
            | State::NonePendingOutIn => "none",
            State::To | State::ToPendingIn => "to",
            State::From | State::FromPendingOut => "from",
            State::Both => "both",
        }
    }

    fn of(sees: Half, seen: Half) -> State {
        match (sees, seen) {
            (Half::No, Half::No) => State::None,
            (Half::Asked, Half::No) => State::NonePendingOut,
            (Half::No, Half::Asked) => State::NonePendingIn,
            (Half::Asked, Half::Asked) => State::NonePendingOutIn,
            (Half::Yes, Half::No) => State::To,
            (Half::Yes, Half::Asked) => State::ToPendingIn,
            (Half::No, Half::Yes) => State::From,
            (Half::Asked, Half::Yes) => State::FromPendingOut,
            (Half::Yes, Half::Yes) => State::Both,
        }
    }

    fn sees(self) -> Half {
        match (self.sees_contact(), self.is_pending_out()) {
            (true, _) => Half::Yes,
            (false, true) => Half::Asked,
            (false, false) => Half::No,
        }
    }

    fn seen(self) -> Half {
        match (self.is_seen_by_contact(), self.is_pending_in()) {
            (true, _) => Half::Yes,
            (false, true) => Half::Asked,
            (false, false) => Half::No,
        }
    }
}

/// One direction of a pair. The RFC's nine states are two of these: every rule of Appendix A
/// reads one of the two and changes at most that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    No,
    Asked,
    Yes,
}

/// A subscription as the user's roster keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// The state of Appendix A.1.
    pub state: State,
    /// The user has said yes before being asked (§3.4). Only while the contact neither sees the
    /// user nor has asked.
    pub approved: bool,
}

impl From<State> for Subscription {
    fn from(state: State) -> Self {
        Subscription {
            state,
            approved: false,
        }
    }
}

/// The four presence types that ask for and grant subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// "May I see you?"
    Subscribe,
    /// "Yes", or before the question: "you may".
    Subscribed,
    /// "I no longer want to see you", or "forget my question".
    Unsubscribe,
    /// "No", or "no longer".
    Unsubscribed,
}

impl Request {
    /// Every request.
    pub const ALL: [Request; 4] = [
        Request::Subscribe,
        Request::Subscribed,
        Request::Unsubscribe,
        Request::Unsubscribed,
    ];

    /// The request that a presence type makes, if it is one of the four.
    pub fn of(presence: PresenceType) -> Option<Request> {
        match presence {
            PresenceType::Subscribe => Some(Request::Subscribe),
            PresenceType::Subscribed => Some(Request::Subscribed),
            PresenceType::Unsubscribe => Some(Request::Unsubscribe),
            PresenceType::Unsubscribed => Some(Request::Unsubscribed),
            PresenceType::Available
            | PresenceType::Unavailable
            | PresenceType::Probe
            | PresenceType::Error => None,
        }
    }

    /// The presence type that carries the request.
    pub fn presence_type(self) -> PresenceType {
        match self {
            Request::Subscribe => PresenceType::Subscribe,
            Request::Subscribed => PresenceType::Subscribed,
            Request::Unsubscribe => PresenceType::Unsubscribe,
            Request::Unsubscribed => PresenceType::Unsubscribed,
        }
    }
}

/// What the contact is to learn about the user's own resources after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// The current presence of each available resource (§3.1.5).
    Available,
    /// `unavailable` from each available resource (§3.2.1, §3.3.3).
    Unavailable,
}

/// What becomes of a request that the user sends (Appendix A.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The state afterwards.
    pub next: Subscription,
    /// Whether the stanza goes on to the contact.
    pub route: bool,
    /// What the contact is told after it.
    pub share: Option<Share>,
}

/// What becomes of a request that arrives from the contact (Appendix A.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The state afterwards.
    pub next: Subscription,
    /// Whether the user's resources see the stanza.
    pub deliver: bool,
    /// What the server answers in the user's name.
    pub reply: Option<Request>,
    /// What the contact is told after it.
    pub share: Option<Share>,
}

/// The user sends `request` to a contact (RFC 6121 Appendix A.2).
pub fn send(now: Subscription, request: Request) -> Sent {
    let (sees, seen) = (now.state.sees(), now.state.seen());
    let keep = Sent {
        next: now,
        route: false,
        share: None,
    };
    match request {
        Request::Subscribe => {
            let sees = if sees == Half::No { Half::Asked } else { sees };
            Sent {
                next: Subscription {
                    state: State::of(sees, seen),
                    ..now
                },
                route: true,
                share: None,
            }
        }
        Request::Unsubscribe => Sent {
            next: Subscription {
                state: State::of(Half::No, seen),
                ..now
            },
            route: true,
            share: None,
        },
        Request::Subscribed => match seen {
            Half::Asked => Sent {
                next: State::of(sees, Half::Yes).into(),
                route: true,
                share: Some(Share::Available),
            },
            // §3.4: yes before the question. The contact is not told.
            Half::No => Sent {
                next: Subscription {
                    approved: true,
                    ..now
                },
                ..keep
            },
            Half::Yes => keep,
        },
        Request::Unsubscribed => match seen {
            Half::Yes => Sent {
                next: State::of(sees, Half::No).into(),
                route: true,
                share: Some(Share::Unavailable),
            },
            Half::Asked => Sent {
                next: State::of(sees, Half::No).into(),
                route: true,
                share: None,
            },
            // §3.4.3: takes an earlier yes back; the contact never knew of it.
            Half::No => Sent {
                next: Subscription {
                    approved: false,
                    ..now
                },
                ..keep
            },
        },
    }
}

/// The contact's `request` arrives at the user (RFC 6121 Appendix A.3).
pub fn receive(now: Subscription, request: Request) -> Received {
    let (sees, seen) = (now.state.sees(), now.state.seen());
    let keep = Received {
        next: now,
        deliver: false,
        reply: None,
        share: None,
    };
    match request {
        Request::Subscribe => match seen {
            Half::No if now.approved => Received {
                next: State::of(sees, Half::Yes).into(),
                deliver: false,
                reply: Some(Request::Subscribed),
                share: Some(Share::Available),
            },
            Half::No => Received {
                next: State::of(sees, Half::Asked).into(),
                deliver: true,
                ..keep
            },
            Half::Asked => keep,
            // A.3.1 note 2: the contact's side has lost the answer; it is given again, and the
            // presence that belongs to it.
            Half::Yes => Received {
                reply: Some(Request::Subscribed),
                share: Some(Share::Available),
                ..keep
            },
        },
        Request::Unsubscribe => match seen {
            Half::No => keep,
            Half::Asked => Received {
                next: State::of(sees, Half::No).into(),
                deliver: true,
                ..keep
            },
            Half::Yes => Received {
                next: State::of(sees, Half::No).into(),
                deliver: true,
                reply: None,
                share: Some(Share::Unavailable),
            },
        },
        Request::Subscribed => match sees {
            Half::Asked => Received {
                next: Subscription {
                    state: State::of(Half::Yes, seen),
                    ..now
                },
                deliver: true,
                ..keep
            },
            Half::No | Half::Yes => keep,
        },
        Request::Unsubscribed => match sees {
            Half::Asked | Half::Yes => Received {
                next: Subscription {
                    state: State::of(Half::No, seen),
                    ..now
                },
                deliver: true,
                ..keep
            },
            Half::No => keep,
        },
    }
}

/// What the contact must be told when the user removes it from the roster (RFC 6121 §2.5.2):
/// each half that stands or waits is ended.
pub fn remove(now: Subscription) -> impl Iterator<Item = Request> {
    let unsubscribe = (now.state.sees() != Half::No).then_some(Request::Unsubscribe);
    let unsubscribed = (now.state.seen() != Half::No).then_some(Request::Unsubscribed);
    unsubscribe.into_iter().chain(unsubscribed)
}

#[cfg(test)]
mod tests {
    use super::State::{
        Both, From as F, FromPendingOut as FO, None as N, NonePendingIn as NI,
        NonePendingOut as NO, NonePendingOutIn as NOI, To as T, ToPendingIn as TI,
    };
    use super::*;
    use proptest::prelude::*;

    /// One row of a table of Appendix A: the state before, whether the stanza passes, the state after.
    type Row = (State, bool, State);

    const OUTBOUND_SUBSCRIBE: [Row; 9] = [
        (N, true, NO),
        (NO, true, NO),
        (NI, true, NOI),
        (NOI, true, NOI),
        (T, true, T),
        (TI, true, TI),
        (F, true, FO),
        (FO, true, FO),
        (Both, true, Both),
    ];
    const OUTBOUND_UNSUBSCRIBE: [Row; 9] = [
        (N, true, N),
        (NO, true, N),
        (NI, true, NI),
        (NOI, true, NI),
        (T, true, N),
        (TI, true, NI),
        (F, true, F),
        (FO, true, F),
        (Both, true, F),
    ];
    const OUTBOUND_SUBSCRIBED: [Row; 9] = [
        (N, false, N),
        (NO, false, NO),
        (NI, true, F),
        (NOI, true, FO),
        (T, false, T),
        (TI, true, Both),
        (F, false, F),
        (FO, false, FO),
        (Both, false, Both),
    ];
    const OUTBOUND_UNSUBSCRIBED: [Row; 9] = [
        (N, false, N),
        (NO, false, NO),
        (NI, true, N),
        (NOI, true, NO),
        (T, false, T),
        (TI, true, T),
        (F, true, N),
        (FO, true, NO),
        (Both, true, T),
    ];
    const INBOUND_SUBSCRIBE: [Row; 9] = [
        (N, true, NI),
        (NO, true, NOI),
        (NI, false, NI),
        (NOI, false, NOI),
        (T, true, TI),
        (TI, false, TI),
        (F, false, F),
        (FO, false, FO),
        (Both, false, Both),
    ];
    const INBOUND_UNSUBSCRIBE: [Row; 9] = [
        (N, false, N),
        (NO, false, NO),
        (NI, true, N),
        (NOI, true, NO),
        (T, false, T),
        (TI, true, T),
        (F, true, N),
        (FO, true, NO),
        (Both, true, T),
    ];
    const INBOUND_SUBSCRIBED: [Row; 9] = [
        (N, false, N),
        (NO, true, T),
        (NI, false, NI),
        (NOI, true, TI),
        (T, false, T),
        (TI, false, TI),
        (F, false, F),
        (FO, true, Both),
        (Both, false, Both),
    ];
    const INBOUND_UNSUBSCRIBED: [Row; 9] = [
        (N, false, N),
        (NO, true, N),
        (NI, false, NI),
        (NOI, true, NI),
        (T, true, N),
        (TI, true, NI),
        (F, false, F),
        (FO, true, F),
        (Both, true, F),
    ];

    #[test]
    fn requests_that_the_user_sends_follow_appendix_a_2() {
        for (request, table) in [
            (Request::Subscribe, OUTBOUND_SUBSCRIBE),
            (Request::Unsubscribe, OUTBOUND_UNSUBSCRIBE),
            (Request::Subscribed, OUTBOUND_SUBSCRIBED),
            (Request::Unsubscribed, OUTBOUND_UNSUBSCRIBED),
        ] {
            for (before, route, after) in table {
                let sent = send(before.into(), request);
                assert_eq!(
                    (sent.route, sent.next.state),
                    (route, after),
                    "{request:?} in {before:?}"
                );
            }
        }
    }

    #[test]
    fn requests_that_arrive_follow_appendix_a_3() {
        for (request, table) in [
            (Request::Subscribe, INBOUND_SUBSCRIBE),
            (Request::Unsubscribe, INBOUND_UNSUBSCRIBE),
            (Request::Subscribed, INBOUND_SUBSCRIBED),
            (Request::Unsubscribed, INBOUND_UNSUBSCRIBED),
        ] {
            for (before, deliver, after) in table {
                let received = receive(before.into(), request);
                assert_eq!(
                    (received.deliver, received.next.state),
                    (deliver, after),
                    "{request:?} in {before:?}"
                );
            }
        }
    }

    #[test]
    fn a_question_that_was_answered_with_yes_is_answered_again_by_the_server() {
        for state in State::ALL {
            let reply = receive(state.into(), Request::Subscribe).reply;
            assert_eq!(
                reply,
                state.is_seen_by_contact().then_some(Request::Subscribed),
                "{state:?}"
            );
        }
    }

    #[test]
    fn presence_is_shared_exactly_when_the_contact_begins_or_ceases_to_see_the_user() {
        for state in State::ALL {
            for request in Request::ALL {
                let sent = send(state.into(), request);
                let expected = match (
                    state.is_seen_by_contact(),
                    sent.next.state.is_seen_by_contact(),
                ) {
                    (false, true) => Some(Share::Available),
                    (true, false) => Some(Share::Unavailable),
                    _ => None,
                };
                assert_eq!(sent.share, expected, "{request:?} sent in {state:?}");
            }
        }
    }

    #[test]
    fn a_yes_before_the_question_is_kept_and_answers_it() {
        for state in [N, NO, T] {
            let sent = send(state.into(), Request::Subscribed);
            assert!(sent.next.approved && !sent.route, "{state:?}");
            let received = receive(sent.next, Request::Subscribe);
            assert!(!received.deliver && !received.next.approved);
            assert_eq!(received.reply, Some(Request::Subscribed));
            assert!(received.next.state.is_seen_by_contact());
        }
        for state in [F, FO, Both] {
            assert!(
                !send(state.into(), Request::Subscribed).next.approved,
                "{state:?}"
            );
        }
    }

    /// What becomes of a pre-approval: the request, the state before (with approval) and after, whether the approval
    /// still stands, and whether the stanza passes.
    type ApprovedRow = (Request, State, State, bool, bool);

    /// §3.4.2 and §3.4.3: only the question that it answers and taking it back end a pre-approval.
    const APPROVED_SENDS: [ApprovedRow; 12] = [
        (Request::Subscribe, N, NO, true, true),
        (Request::Subscribe, NO, NO, true, true),
        (Request::Subscribe, T, T, true, true),
        (Request::Unsubscribe, N, N, true, true),
        (Request::Unsubscribe, NO, N, true, true),
        (Request::Unsubscribe, T, N, true, true),
        (Request::Subscribed, N, N, true, false),
        (Request::Subscribed, NO, NO, true, false),
        (Request::Subscribed, T, T, true, false),
        (Request::Unsubscribed, N, N, false, false),
        (Request::Unsubscribed, NO, NO, false, false),
        (Request::Unsubscribed, T, T, false, false),
    ];
    const APPROVED_RECEIVES: [ApprovedRow; 12] = [
        // Answered by the server (§3.1.3), so the user is not asked.
        (Request::Subscribe, N, F, false, false),
        (Request::Subscribe, NO, FO, false, false),
        (Request::Subscribe, T, Both, false, false),
        (Request::Unsubscribe, N, N, true, false),
        (Request::Unsubscribe, NO, NO, true, false),
        (Request::Unsubscribe, T, T, true, false),
        (Request::Subscribed, N, N, true, false),
        (Request::Subscribed, NO, T, true, true),
        (Request::Subscribed, T, T, true, false),
        (Request::Unsubscribed, N, N, true, false),
        (Request::Unsubscribed, NO, N, true, true),
        (Request::Unsubscribed, T, N, true, true),
    ];

    #[test]
    fn a_yes_before_the_question_stands_until_it_answers_or_is_taken_back() {
        let approved = |state| Subscription {
            state,
            approved: true,
        };
        for (request, before, after, stands, route) in APPROVED_SENDS {
            let sent = send(approved(before), request);
            let next = (sent.next.state, sent.next.approved, sent.route);
            assert_eq!(
                next,
                (after, stands, route),
                "{request:?} sent in {before:?}"
            );
        }
        for (request, before, after, stands, deliver) in APPROVED_RECEIVES {
            let received = receive(approved(before), request);
            let next = (
                received.next.state,
                received.next.approved,
                received.deliver,
            );
            assert_eq!(next, (after, stands, deliver), "{request:?} in {before:?}");
            let reply = (request == Request::Subscribe).then_some(Request::Subscribed);
            assert_eq!(received.reply, reply, "{request:?} in {before:?}");
        }
    }

    #[test]
    fn a_yes_before_the_question_can_be_taken_back() {
        let approved = send(N.into(), Request::Subscribed).next;
        let sent = send(approved, Request::Unsubscribed);
        assert!(!sent.next.approved && !sent.route);
    }

    #[test]
    fn removing_a_contact_ends_both_halves() {
        let told = |state: State| remove(state.into()).collect::<Vec<_>>();
        assert_eq!(told(N), []);
        assert_eq!(told(NO), [Request::Unsubscribe]);
        assert_eq!(told(T), [Request::Unsubscribe]);
        assert_eq!(told(F), [Request::Unsubscribed]);
        assert_eq!(told(NI), [Request::Unsubscribed]);
        assert_eq!(told(Both), [Request::Unsubscribe, Request::Unsubscribed]);
        assert_eq!(told(FO), [Request::Unsubscribe, Request::Unsubscribed]);
    }

    /// Two servers with their side of one pair and the stanzas between them, in order.
    #[derive(Default)]
    struct Pair {
        sides: [Subscription; 2],
        wires: [std::collections::VecDeque<Request>; 2],
    }

    impl Pair {
        fn send(&mut self, side: usize, request: Request) {
            let sent = send(self.sides[side], request);
            self.sides[side] = sent.next;
            if sent.route {
                self.wires[side].push_back(request);
            }
        }

        fn deliver(&mut self, from: usize) {
            let Some(request) = self.wires[from].pop_front() else {
                return;
            };
            let received = receive(self.sides[1 - from], request);
            self.sides[1 - from] = received.next;
            self.wires[1 - from].extend(received.reply);
        }

        fn agree(&self) -> bool {
            let [a, b] = self.sides.map(|side| side.state);
            a.sees_contact() == b.is_seen_by_contact() && b.sees_contact() == a.is_seen_by_contact()
        }
    }

    fn any_request() -> impl Strategy<Value = Request> {
        prop::sample::select(Request::ALL.to_vec())
    }

    proptest! {
        /// Whatever two people click, once the wires are empty both servers tell the same story.
        #[test]
        fn both_sides_agree_when_the_wires_are_empty(clicks in prop::collection::vec((0..2usize, any_request()), 0..40)) {
            let mut pair = Pair::default();
            for (side, request) in clicks {
                pair.send(side, request);
                while pair.wires.iter().any(|wire| !wire.is_empty()) {
                    pair.deliver(0);
                    pair.deliver(1);
                }
                prop_assert!(pair.agree(), "{:?}", pair.sides);
            }
        }

        /// Stanzas that cross on the way never make a server answer for ever.
        #[test]
        fn crossing_stanzas_come_to_rest(steps in prop::collection::vec((0..2usize, prop::option::of(any_request())), 0..60)) {
            let mut pair = Pair::default();
            for (side, step) in steps {
                match step {
                    Some(request) => pair.send(side, request),
                    None => pair.deliver(side),
                }
            }
            let mut left = 1_000;
            while pair.wires.iter().any(|wire| !wire.is_empty()) {
                pair.deliver(0);
                pair.deliver(1);
                left -= 1;
                prop_assert!(left > 0, "the servers answer each other without end");
            }
        }

        /// A pre-approval never stands beside a question or an answer.
        #[test]
        fn approval_waits_only_for_a_question(clicks in prop::collection::vec((any::<bool>(), any_request()), 0..40)) {
            let mut side = Subscription::default();
            for (outbound, request) in clicks {
                side = if outbound { send(side, request).next } else { receive(side, request).next };
                prop_assert!(!side.approved || (!side.state.is_seen_by_contact() && !side.state.is_pending_in()));
            }
        }
    }
}
