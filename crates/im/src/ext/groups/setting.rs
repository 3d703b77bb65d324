//! Which messages of a group wake its member.
//!
//! XEP-0492: Chat notification settings, version 0.2.0, as they are kept in the room's bookmark (XEP-0402).

use posthaste_proto::ns;
use posthaste_proto::xml::Element;

/// What a member wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Every message.
    Always,
    /// What is for the member by name.
    OnMention,
    /// Nothing.
    Never,
}

impl Setting {
    /// The setting of a bookmark, if it has one for what is woken: phones.
    pub fn of(conference: &Element) -> Option<Setting> {
        let extensions = conference.child("extensions", ns::BOOKMARKS)?;
        let is_notify = |child: &&Element| {
            child.name() == "notify" && ns::NOTIFICATION_SETTINGS.contains(&child.ns())
        };
        let notify = extensions.children().find(is_notify)?;
        let settings = notify.children().filter_map(|setting| {
            let kind = match setting.name() {
                "always" => Setting::Always,
                "on-mention" => Setting::OnMention,
                "never" => Setting::Never,
                _ => return None,
            };
            Some((specificity(setting)?, kind))
        });
        // The first of equals: there should be one only.
        let most = settings.reduce(|most, next| if next.0 > most.0 { next } else { most });
        most.map(|(_, kind)| kind)
    }
}

/// How well a setting fits a phone's client; `None` if it is for something else.
fn specificity(setting: &Element) -> Option<u8> {
    // COMPAT(slixmpp, 1.17): it writes the older version, which has one attribute, for the types of clients.
    let category = setting.attr("client-type").map(|_| "client");
    match (
        setting.attr("identity-category").or(category),
        setting
            .attr("identity-type")
            .or_else(|| setting.attr("client-type")),
    ) {
        (None, None) => Some(0),
        (Some("client"), None) => Some(1),
        (Some("client"), Some("phone")) => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_fits_a_phone_best_counts() {
        for (settings, expected) in [
            ("", None),
            ("<always/>", Some(Setting::Always)),
            ("<never/>", Some(Setting::Never)),
            (
                "<never identity-category='client' identity-type='pc'/><on-mention/>",
                Some(Setting::OnMention),
            ),
            (
                "<always/><never identity-category='client'/><on-mention identity-category='client' identity-type='phone'/>",
                Some(Setting::OnMention),
            ),
            (
                "<always/><never identity-category='client'/>",
                Some(Setting::Never),
            ),
            ("<never identity-category='gateway'/>", None),
            (
                "<always client-type='pc'/><on-mention/>",
                Some(Setting::OnMention),
            ),
            (
                "<always/><never client-type='phone'/>",
                Some(Setting::Never),
            ),
            ("<something/>", None),
        ] {
            for ns in ns::NOTIFICATION_SETTINGS {
                let xml = format!(
                    "<conference xmlns='urn:xmpp:bookmarks:1'><extensions><notify xmlns='{ns}'>{settings}</notify></extensions></conference>"
                );
                let conference = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
                assert_eq!(Setting::of(&conference), expected, "{settings}");
            }
        }
    }
}
