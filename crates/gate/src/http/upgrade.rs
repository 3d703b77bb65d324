//! The HTTP half of opening a WebSocket for XMPP (RFC 6455 §4.2, RFC 7395 §3.1).

use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use posthaste_proto::websocket::{SUBPROTOCOL, accept_key};

use super::{Body, empty};

/// The answer to an opening handshake: 101, or the status that says what is wrong with it.
pub(super) fn answer<B>(request: &Request<B>, origins: &[String]) -> Response<Body> {
    match accept(request, origins) {
        Ok(proof) => switching(&proof),
        Err(status) => refusal(status),
    }
}

/// The value of `Sec-WebSocket-Accept`, or what is wrong.
fn accept<B>(request: &Request<B>, origins: &[String]) -> Result<String, StatusCode> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !lists(headers, &UPGRADE, "websocket") || !lists(headers, &CONNECTION, "upgrade") {
        return Err(StatusCode::UPGRADE_REQUIRED);
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(StatusCode::UPGRADE_REQUIRED);
    }
    if !may_connect(headers, origins) {
        return Err(StatusCode::FORBIDDEN);
    }
    if !lists(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .and_then(|key| key.to_str().ok());
    key.and_then(accept_key).ok_or(StatusCode::BAD_REQUEST)
}

/// Whether one of the header's comma-separated values is `value`, in any case of letters.
fn lists(headers: &HeaderMap, name: &HeaderName, value: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|header| header.to_str().ok());
    values
        .flat_map(|text| text.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(value))
}

/// Whether the page that asks, if it is one, may connect.
pub(super) fn may_connect(headers: &HeaderMap, origins: &[String]) -> bool {
    // Programs send no origin and could send any: the check is for browsers.
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    origins.is_empty()
        || origins
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
}

fn switching(proof: &str) -> Response<Body> {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    let proof = HeaderValue::from_str(proof).expect("base64 is valid in a header");
    headers.insert(SEC_WEBSOCKET_ACCEPT, proof);
    response
}

fn refusal(status: StatusCode) -> Response<Body> {
    let mut response = super::status(status);
    if status == StatusCode::UPGRADE_REQUIRED {
        // RFC 6455 §4.4 and RFC 9110 §15.5.22: say what would have been right.
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "chat, xmpp"),
    ];

    /// The good request with `changed` headers replaced; an empty value removes one.
    fn request(changed: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get("/xmpp-websocket").body(()).unwrap();
        for (name, value) in GOOD.iter().chain(changed) {
            let name = HeaderName::try_from(*name).unwrap();
            match *value {
                "" => drop(request.headers_mut().remove(name)),
                value => drop(request.headers_mut().insert(name, value.parse().unwrap())),
            }
        }
        request
    }

    #[test]
    fn a_good_handshake_is_proved_as_in_the_rfc() {
        // The example of RFC 6455 §1.3.
        assert_eq!(
            accept(&request(&[]), &[]).unwrap(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        let response = answer(&request(&[]), &[]);
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "xmpp");
    }

    #[test]
    fn each_flaw_has_its_status() {
        let table: [(&[(&str, &str)], u16); 7] = [
            (&[("upgrade", "")], 426),
            (&[("connection", "close")], 426),
            (&[("sec-websocket-version", "8")], 426),
            (&[("sec-websocket-key", "")], 400),
            (&[("sec-websocket-key", "c2hvcnQ=")], 400),
            (&[("sec-websocket-protocol", "chat")], 400),
            (&[("origin", "https://elsewhere.example")], 403),
        ];
        let origins = ["https://chat.example".to_owned()];
        for (changed, status) in table {
            assert_eq!(
                answer(&request(changed), &origins).status(),
                status,
                "{changed:?}"
            );
        }
        let version = answer(&request(&[("sec-websocket-version", "8")]), &[]);
        assert_eq!(version.headers()[SEC_WEBSOCKET_VERSION], "13");
        accept(&request(&[("origin", "https://chat.example")]), &origins).unwrap();
    }
}
