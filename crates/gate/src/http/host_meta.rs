//! A browser finds the WebSocket and BOSH of a domain: host-meta in its XML and JSON forms (XEP-0156
//! 1.4.0, RFC 6415).

use http::header::{CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::bosh::BOSH_PATH;
use super::{Body, HttpPeer, WEB_SOCKET_PATH, full, open_to_every_page, status};
use crate::config::HttpConfig;

/// Where the XML form is.
pub(super) const XML_PATH: &str = "/.well-known/host-meta";
/// Where the JSON form is.
pub(super) const JSON_PATH: &str = "/.well-known/host-meta.json";

/// A way to connect, and its address.
type Link = (&'static str, String);

const WEB_SOCKET: &str = "urn:xmpp:alt-connections:websocket";
const BOSH: &str = "urn:xmpp:alt-connections:xbosh";

/// Which form is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Xml,
    Json,
}

/// Answers a request for host-meta. `config` may name the addresses.
pub(super) fn answer(
    form: Form,
    request: &Request<Incoming>,
    peer: &HttpPeer,
    config: &HttpConfig,
) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let host = request
        .headers()
        .get(HOST)
        .and_then(|value| value.to_str().ok());
    let Some(links) = links(host, peer.secure, config) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let (content_type, text) = match form {
        Form::Xml => ("application/xrd+xml", xml(&links)),
        Form::Json => ("application/json", json(&links)),
    };
    let mut response = full(text);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    open_to_every_page(&mut response);
    response
}

/// The addresses as this client can reach them. Who names the WebSocket's and not that of BOSH has
/// something between us and the clients that may know nothing of BOSH: then it is not announced.
fn links(host: Option<&str>, secure: bool, config: &HttpConfig) -> Option<Vec<Link>> {
    let web_socket = config.public_websocket.as_deref();
    let scheme = if secure { "wss" } else { "ws" };
    let mut links = vec![(WEB_SOCKET, link(host, scheme, WEB_SOCKET_PATH, web_socket)?)];
    let bosh = config.public_bosh.as_deref();
    if bosh.is_some() || web_socket.is_none() {
        let scheme = if secure { "https" } else { "http" };
        links.push((BOSH, link(host, scheme, BOSH_PATH, bosh)?));
    }
    Some(links)
}

/// An authority has no character that XML or JSON would need escaped, apart from `&` and `'`, which
/// are refused.
fn link(host: Option<&str>, scheme: &str, path: &str, public: Option<&str>) -> Option<String> {
    let authority: Option<Authority> = host.and_then(|host| host.parse().ok());
    let plain = |text: &str| !text.contains(['&', '\'', '"', '<', '>', '\\', '@']);
    let authority = authority.filter(|authority| plain(authority.as_str()));
    match public {
        Some(public) if !public.contains("{host}") => Some(public.to_owned()),
        Some(public) => Some(public.replace("{host}", authority?.host())),
        None => Some(format!("{scheme}://{}{path}", authority?)),
    }
}

fn xml(links: &[Link]) -> String {
    let mut text = "<?xml version='1.0' encoding='utf-8'?>\n\
        <XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>"
        .to_owned();
    for (relation, address) in links {
        let mut href = Vec::new();
        posthaste_proto::xml::escape_attr(&mut href, address);
        let href = String::from_utf8_lossy(&href);
        text.push_str(&format!("<Link rel='{relation}' href='{href}'/>"));
    }
    text + "</XRD>\n"
}

fn json(links: &[Link]) -> String {
    let each = links.iter().map(|(relation, address)| {
        // A configured address may hold anything that TOML can.
        let href = address.replace('\\', "\\\\").replace('"', "\\\"");
        format!("{{\"rel\":\"{relation}\",\"href\":\"{href}\"}}")
    });
    format!("{{\"links\":[{}]}}\n", each.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(host: Option<&str>, secure: bool, config: &HttpConfig) -> Option<Vec<String>> {
        let links = links(host, secure, config)?;
        Some(links.into_iter().map(|(_, address)| address).collect())
    }

    fn public(web_socket: &str, bosh: Option<&str>) -> HttpConfig {
        HttpConfig {
            public_websocket: Some(web_socket.to_owned()),
            public_bosh: bosh.map(str::to_owned),
            ..HttpConfig::default()
        }
    }

    #[test]
    fn the_links_follow_the_address_the_client_used() {
        let none = HttpConfig::default();
        assert_eq!(
            addresses(Some("chat.example:5443"), true, &none).unwrap(),
            [
                "wss://chat.example:5443/xmpp-websocket",
                "https://chat.example:5443/http-bind"
            ]
        );
        assert_eq!(
            addresses(Some("localhost:5280"), false, &none).unwrap(),
            [
                "ws://localhost:5280/xmpp-websocket",
                "http://localhost:5280/http-bind"
            ]
        );
        let named = public("wss://{host}/chat", Some("https://{host}/bosh"));
        assert_eq!(
            addresses(Some("example.org:443"), false, &named).unwrap(),
            ["wss://example.org/chat", "https://example.org/bosh"]
        );
        let half = public("wss://chat.example/xmpp-websocket", None);
        assert_eq!(
            addresses(None, false, &half).unwrap(),
            ["wss://chat.example/xmpp-websocket"]
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
            let found = addresses(host, true, &HttpConfig::default());
            assert_eq!(found, None, "{host:?}");
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let links = [
            (WEB_SOCKET, "wss://a/?b&c".to_owned()),
            (BOSH, "https://a".to_owned()),
        ];
        assert!(xml(&links).contains("href='wss://a/?b&amp;c'"));
        let json = json(&links);
        assert!(json.contains("\"href\":\"wss://a/?b&c\"},{"), "{json}");
        assert!(json.ends_with("\"href\":\"https://a\"}]}\n"), "{json}");
    }
}
