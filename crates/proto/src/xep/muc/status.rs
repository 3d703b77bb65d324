//! The numbers by which a room says what a presence or a message is about.

use crate::ns;
use crate::xml::Element;

/// A status code (XEP-0045 §15.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Status {
    /// 100: any occupant is allowed to see the user's full JID.
    NonAnonymous = 100,
    /// 101: the user's affiliation changed while the user was not in the room.
    AffiliationChanged = 101,
    /// 102: the room now shows unavailable members.
    ShowsUnavailable = 102,
    /// 103: the room no longer shows unavailable members.
    HidesUnavailable = 103,
    /// 104: the configuration has changed in something that is no matter of privacy.
    ConfigChanged = 104,
    /// 110: this presence is the user's own.
    OwnPresence = 110,
    /// 170: what is said is now logged in public.
    LoggingEnabled = 170,
    /// 171: what is said is no longer logged in public.
    LoggingDisabled = 171,
    /// 172: the room is now non-anonymous.
    NowNonAnonymous = 172,
    /// 173: the room is now semi-anonymous.
    NowSemiAnonymous = 173,
    /// 201: the room was created by this very entering.
    Created = 201,
    /// 210: the service has chosen or changed the user's nickname.
    NickAssigned = 210,
    /// 301: banned.
    Banned = 301,
    /// 303: this nickname is given up for another.
    NickChanged = 303,
    /// 307: kicked.
    Kicked = 307,
    /// 321: removed because of an affiliation change.
    RemovedByAffiliation = 321,
    /// 322: removed because the room is for members only now and the user is none.
    RemovedAsNonMember = 322,
    /// 332: removed because the service is shut down.
    ServiceShutdown = 332,
    /// 333: removed because what was sent to the user came back as an error.
    RemovedByError = 333,
}

impl Status {
    /// All of them, in order.
    pub const ALL: [Status; 19] = [
        Status::NonAnonymous,
        Status::AffiliationChanged,
        Status::ShowsUnavailable,
        Status::HidesUnavailable,
        Status::ConfigChanged,
        Status::OwnPresence,
        Status::LoggingEnabled,
        Status::LoggingDisabled,
        Status::NowNonAnonymous,
        Status::NowSemiAnonymous,
        Status::Created,
        Status::NickAssigned,
        Status::Banned,
        Status::NickChanged,
        Status::Kicked,
        Status::RemovedByAffiliation,
        Status::RemovedAsNonMember,
        Status::ServiceShutdown,
        Status::RemovedByError,
    ];

    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// From the number on the wire.
    pub fn parse(code: &str) -> Option<Status> {
        let code: u16 = code.parse().ok()?;
        Status::ALL.into_iter().find(|known| known.code() == code)
    }

    /// `<status/>` as a room says it.
    pub fn to_element(self) -> Element {
        Element::new("status", ns::MUC_USER).with_attr("code", self.code().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_read_as_it_is_written() {
        assert!(Status::ALL.is_sorted());
        for status in Status::ALL {
            let element = status.to_element();
            assert_eq!(Status::parse(element.attr("code").unwrap()), Some(status));
        }
        assert_eq!(
            (Status::parse("999"), Status::parse("kicked")),
            (None, None)
        );
    }
}
