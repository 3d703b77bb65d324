//! How a room behaves: the settings of `muc#roomconfig` (XEP-0045 §10, §15.5.3), and the form of them.

mod form;

pub use form::{
    Bounds, DESCRIPTION_BYTES, LANG_BYTES, LISTED_JIDS, NAME_BYTES, PASSWORD_BYTES, PUBSUB_BYTES,
    Submission, Unacceptable,
};

use super::Role;

/// Who may do something that only roles decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allowed {
    /// Every occupant.
    Anyone,
    /// Those with voice.
    Participants,
    /// Moderators.
    Moderators,
    /// Nobody.
    Nobody,
}

impl Allowed {
    /// Does it hold for an occupant of this role?
    pub fn admits(self, role: Role) -> bool {
        match self {
            Allowed::Anyone => role > Role::None,
            Allowed::Participants => role >= Role::Participant,
            Allowed::Moderators => role >= Role::Moderator,
            Allowed::Nobody => false,
        }
    }
}

/// Which occupants' presence everybody is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceBroadcast {
    /// That of moderators.
    pub moderators: bool,
    /// That of participants.
    pub participants: bool,
    /// That of visitors.
    pub visitors: bool,
}

impl PresenceBroadcast {
    /// Everybody's.
    pub const ALL: PresenceBroadcast = PresenceBroadcast {
        moderators: true,
        participants: true,
        visitors: true,
    };
    /// Nobody's.
    pub const NONE: PresenceBroadcast = PresenceBroadcast {
        moderators: false,
        participants: false,
        visitors: false,
    };

    /// Is everybody told of occupants of this role?
    pub fn shows(self, role: Role) -> bool {
        match role {
            Role::Moderator => self.moderators,
            Role::Participant => self.participants,
            Role::Visitor => self.visitors,
            Role::None => true,
        }
    }
}

/// Who may learn the real addresses of occupants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhoIs {
    /// Everybody: the room is non-anonymous.
    Anyone,
    /// Moderators: the room is semi-anonymous.
    Moderators,
}

/// The settings of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomConfig {
    /// What people call it; empty for nothing.
    pub name: String,
    /// What it is about; empty for nothing.
    pub description: String,
    /// The language spoken there, as in `xml:lang`; empty for none in particular.
    pub lang: String,
    /// Does it outlive its last occupant?
    pub persistent: bool,
    /// Is it listed?
    pub public: bool,
    /// Who may enter: only members?
    pub members_only: bool,
    /// Do newcomers have to be given voice?
    pub moderated: bool,
    /// What one has to know to enter, if anything.
    pub password: Option<String>,
    /// Most occupants at a time; `None` for as many as the service allows.
    pub max_users: Option<u32>,
    /// Who learns real addresses.
    pub whois: WhoIs,
    /// May others than moderators set the subject?
    pub change_subject: bool,
    /// May members invite, where only members enter? Elsewhere every occupant may.
    pub allow_invites: bool,
    /// Who may send private messages.
    pub private_messages: Allowed,
    /// Whose presence is told to everybody.
    pub presence_broadcast: PresenceBroadcast,
    /// Who may fetch the list of members.
    pub member_list: PresenceBroadcast,
    /// Most messages of the past that a newcomer is sent; `None` for as many as the service sends.
    pub max_history: Option<u32>,
    /// Is what is said kept in the room's archive (XEP-0313), for all who may enter? That is its logging (§7.2.12), too.
    pub archiving: bool,
    /// The address of a pubsub node that belongs to it, an `xmpp:` URI; empty for none.
    pub pubsub: String,
    /// May visitors ask for voice?
    pub voice_requests: bool,
    /// How many seconds lie between two requests for voice of one visitor, at least.
    pub voice_request_seconds: u32,
    /// Seconds that everybody but admins and owners waits between two messages, at most [`MAX_SLOW_MODE_SECONDS`]; 0 for
    /// none (`muc#roomconfig_slow_mode_duration`, XEP-0500).
    pub slow_mode_seconds: u32,
}

/// A day: who is to speak less often than that is to be a visitor.
pub const MAX_SLOW_MODE_SECONDS: u32 = 86_400;

impl Default for RoomConfig {
    /// An instant room (§10.1.2): open to all, listed, semi-anonymous, gone with its last occupant.
    fn default() -> RoomConfig {
        RoomConfig {
            name: String::new(),
            description: String::new(),
            lang: String::new(),
            persistent: false,
            public: true,
            members_only: false,
            moderated: false,
            password: None,
            max_users: None,
            whois: WhoIs::Moderators,
            change_subject: false,
            allow_invites: false,
            private_messages: Allowed::Anyone,
            presence_broadcast: PresenceBroadcast::ALL,
            member_list: PresenceBroadcast::ALL,
            max_history: None,
            // What was said can be caught up with, unless an owner wants it otherwise.
            archiving: true,
            pubsub: String::new(),
            voice_requests: true,
            // Half an hour: no moderator is pestered.
            voice_request_seconds: 1800,
            slow_mode_seconds: 0,
        }
    }
}
