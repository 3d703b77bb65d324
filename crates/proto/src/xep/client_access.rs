//! What has access to an account, and how that ends.
//!
//! XEP-0494 0.1.0. Left out: `<grant/>` (there is no OAuth here) and restricted permissions.

use crate::ns;
use crate::xml::Element;

/// One client in the list (§4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// What `<revoke/>` names it by.
    pub id: String,
    /// Has it a session, connected or waiting to be resumed?
    pub is_connected: bool,
    /// When it first came, as an XEP-0082 DateTime, if that is known.
    pub first_seen: Option<String>,
    /// When it was last there.
    pub last_seen: Option<String>,
    /// Has it shown the account's present password?
    pub has_password: bool,
    /// Has it a token to log in with (XEP-0484)?
    pub has_token: bool,
    /// The software's name.
    pub software: Option<String>,
    /// The device's name.
    pub device: Option<String>,
}

impl Client {
    fn to_element(&self) -> Element {
        let new = |name| Element::new(name, ns::CLIENT_ACCESS);
        let texts = |fields: [(&'static str, &Option<String>); 2]| {
            fields.map(|(name, text)| Some(new(name).with_text(text.as_ref()?)))
        };
        let seen = texts([
            ("first-seen", &self.first_seen),
            ("last-seen", &self.last_seen),
        ]);
        let auth = new("auth")
            .with_children(self.has_password.then(|| new("password")))
            .with_children(self.has_token.then(|| new("fast")));
        let agent = texts([("software", &self.software), ("device", &self.device)]);
        new("client")
            .with_attr(
                "connected",
                if self.is_connected { "true" } else { "false" },
            )
            .with_attr("id", &*self.id)
            .with_attr("type", "session")
            .with_children(seen.into_iter().flatten())
            .with_child(auth)
            .with_child(new("permission").with_attr("status", "unrestricted"))
            .with_child(new("user-agent").with_children(agent.into_iter().flatten()))
    }
}

/// The answer to `<list/>`.
pub fn clients(clients: impl IntoIterator<Item = Client>) -> Element {
    let clients = clients.into_iter().map(|client| client.to_element());
    Element::new("clients", ns::CLIENT_ACCESS).with_children(clients)
}

/// The condition that goes with `service-unavailable` when a client knows the password (§4.2).
pub fn password_reset_required() -> Element {
    Element::new("password-reset-required", ns::CLIENT_ACCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_shown_as_the_example_shows_it() {
        let gajim = Client {
            id: "zeiP41HLglIu".to_owned(),
            is_connected: true,
            first_seen: Some("2023-04-06T14:26:08Z".to_owned()),
            last_seen: Some("2023-04-06T14:37:25Z".to_owned()),
            has_password: true,
            software: Some("Gajim".to_owned()),
            device: Some("Juliet's laptop".to_owned()),
            ..Client::default()
        };
        let expected = "<clients xmlns='urn:xmpp:cam:0'>\
            <client connected='true' id='zeiP41HLglIu' type='session'>\
            <first-seen>2023-04-06T14:26:08Z</first-seen>\
            <last-seen>2023-04-06T14:37:25Z</last-seen>\
            <auth><password/></auth><permission status='unrestricted'/>\
            <user-agent><software>Gajim</software><device>Juliet's laptop</device></user-agent>\
            </client></clients>";
        let expected = Element::parse(expected.as_bytes(), ns::CLIENT).unwrap();
        assert_eq!(clients([gajim]), expected);
    }
}
