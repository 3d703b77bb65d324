//! A browser finds the WebSocket of a domain: host-meta in its XML and JSON forms (XEP-0156 1.4.0,
//! RFC 6415).
//!
//! Left out: BOSH links, until there is BOSH.

use http::header::{CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{Body, HttpPeer, WEB_SOCKET_PATH, full, open_to_every_page, status};

/// Where the XML form is.
pub(super) const XML_PATH: &str = "/.well-known/host-meta";
/// Where the JSON form is.
pub(super) const JSON_PATH: &str = "/.well-known/host-meta.json";

const RELATION: &str = "urn:xmpp:alt-connections:websocket";

/// Which form is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Xml,
    Json,
}

/// Answers a request for host-meta. `public` is the configured address of the WebSocket.
pub(super) fn answer(
    form: Form,
    request: &Request<Incoming>,
    peer: &HttpPeer,
    public: Option<&str>,
) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let host = request
        .headers()
        .get(HOST)
        .and_then(|value| value.to_str().ok());
    let Some(link) = web_socket_link(host, peer.secure, public) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let (content_type, text) = match form {
        Form::Xml => ("application/xrd+xml", xml(&link)),
        Form::Json => ("application/json", json(&link)),
    };
    let mut response = full(text);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    open_to_every_page(&mut response);
    response
}

/// The WebSocket's address as this client can reach it. An authority has no character that XML or
/// JSON would need escaped, apart from `&` and `'`, which are refused.
fn web_socket_link(host: Option<&str>, secure: bool, public: Option<&str>) -> Option<String> {
    let authority: Option<Authority> = host.and_then(|host| host.parse().ok());
    let plain = |text: &str| !text.contains(['&', '\'', '"', '<', '>', '\\', '@']);
    let authority = authority.filter(|authority| plain(authority.as_str()));
    match public {
        Some(public) if !public.contains("{host}") => Some(public.to_owned()),
        Some(public) => Some(public.replace("{host}", authority?.host())),
        None => {
            let scheme = if secure { "wss" } else { "ws" };
            Some(format!("{scheme}://{}{WEB_SOCKET_PATH}", authority?))
        }
    }
}

fn xml(link: &str) -> String {
    let mut href = Vec::new();
    posthaste_proto::xml::escape_attr(&mut href, link);
    let href = String::from_utf8_lossy(&href);
    format!(
        "<?xml version='1.0' encoding='utf-8'?>\n\
         <XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\
         <Link rel='{RELATION}' href='{href}'/></XRD>\n"
    )
}

fn json(link: &str) -> String {
    // A configured address may hold anything that TOML can.
    let href = link.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{{\"links\":[{{\"rel\":\"{RELATION}\",\"href\":\"{href}\"}}]}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_follows_the_address_the_client_used() {
        let link = |host, secure, public| web_socket_link(host, secure, public);
        assert_eq!(
            link(Some("chat.example:5443"), true, None).unwrap(),
            "wss://chat.example:5443/xmpp-websocket"
        );
        assert_eq!(
            link(Some("localhost:5280"), false, None).unwrap(),
            "ws://localhost:5280/xmpp-websocket"
        );
        assert_eq!(
            link(Some("example.org:443"), false, Some("wss://{host}/chat")).unwrap(),
            "wss://example.org/chat"
        );
        assert_eq!(
            link(None, false, Some("wss://chat.example/xmpp-websocket")).unwrap(),
            "wss://chat.example/xmpp-websocket"
        );
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        for host in [
            None,
            Some("a b"),
            Some("x'/><evil"),
            Some("user@host"),
            Some(""),
        ] {
            assert_eq!(web_socket_link(host, true, None), None, "{host:?}");
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        assert!(xml("wss://a/?b&c").contains("href='wss://a/?b&amp;c'"));
        assert!(json("wss://a/xmpp-websocket").contains("\"href\":\"wss://a/xmpp-websocket\""));
    }
}
