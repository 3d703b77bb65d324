//! Where a file may be uploaded to: a slot that the server gives (XEP-0363 §4), or any address of a WebDAV server.

use anyhow::{Context, bail, ensure};
use http::Uri;
use http::header::{HeaderName, HeaderValue};
use posthaste_proto::xml::{Element, escape_attr};

use super::content::Content;
use crate::login::{Client, Wishes, log_in, receive_element};
use crate::target::Target;

/// XEP-0363.
const UPLOAD: &str = "urn:xmpp:http:upload:0";

const WISHES: Wishes = Wishes {
    stream_management: false,
    carbons: false,
    presence: false,
};

/// Where a file goes and where it is got from.
pub(super) struct Slot {
    pub(super) put: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) get: Uri,
}

/// Who gives slots to one client.
pub(super) enum Giver {
    /// An XMPP server's upload service, by a session there.
    Service {
        client: Box<Client>,
        /// Its address, escaped.
        service: String,
        asked: u64,
    },
    /// An address that ends in a slash, below which everybody may put files.
    Folder(String),
}

impl Giver {
    /// Logs account `index` in, to ask `service`.
    pub(super) async fn log_in(
        target: &Target,
        index: usize,
        service: &str,
    ) -> anyhow::Result<Giver> {
        let client = log_in(target, index, WISHES).await?;
        let mut escaped = Vec::new();
        escape_attr(&mut escaped, service);
        Ok(Giver::Service {
            client: Box::new(client),
            service: String::from_utf8(escaped)?,
            asked: 0,
        })
    }

    /// A slot for this file.
    pub(super) async fn slot(&mut self, content: &Content) -> anyhow::Result<Slot> {
        match self {
            Giver::Folder(folder) => {
                let uri: Uri = format!("{folder}{}", content.name()).parse()?;
                Ok(Slot {
                    put: uri.clone(),
                    headers: Vec::new(),
                    get: uri,
                })
            }
            Giver::Service {
                client,
                service,
                asked,
            } => {
                *asked += 1;
                let id = format!("slot{asked}");
                ask(client, service, &id, content).await
            }
        }
    }

    /// Ends the session politely.
    pub(super) async fn leave(self) {
        if let Giver::Service { client, .. } = self {
            client.connection.close().await;
        }
    }
}

async fn ask(
    client: &mut Client,
    service: &str,
    id: &str,
    content: &Content,
) -> anyhow::Result<Slot> {
    let (name, size) = (content.name(), content.size);
    let question = format!(
        "<iq type='get' to='{service}' id='{id}'><request xmlns='{UPLOAD}' filename='{name}' size='{size}' \
         content-type='application/octet-stream'/></iq>"
    );
    let out = client.connection.outbound();
    out.extend_from_slice(question.as_bytes());
    loop {
        let answer = receive_element(&mut client.connection).await?;
        if answer.attr("id") != Some(id) {
            continue;
        }
        ensure!(
            answer.attr("type") == Some("result"),
            "no slot was given: {answer:?}"
        );
        return read(&answer);
    }
}

fn read(answer: &Element) -> anyhow::Result<Slot> {
    let slot = answer.child("slot", UPLOAD).context("no slot")?;
    let address = |name| -> anyhow::Result<Uri> {
        let element = slot
            .child(name, UPLOAD)
            .with_context(|| format!("a slot without <{name}/>"))?;
        let url = element.attr("url").context("an element without url")?;
        Ok(url.parse()?)
    };
    let put = slot.child("put", UPLOAD).context("a slot without <put/>")?;
    let mut headers = Vec::new();
    for header in put.children().filter(|it| it.is("header", UPLOAD)) {
        let name = header.attr("name").context("a header without name")?;
        headers.push((name.parse()?, header.text().parse()?));
    }
    Ok(Slot {
        put: address("put")?,
        headers,
        get: address("get")?,
    })
}

/// Which address a text means; the folder of a WebDAV server.
pub(super) fn folder(text: &str) -> anyhow::Result<String> {
    let uri: Uri = text.parse().context("this is no address")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || !text.ends_with('/') {
        bail!("{text} is no http or https address that ends in a slash");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_proto::xml::{Limits, StreamContext};

    fn answer(slot: &str) -> Element {
        let xml = format!("<iq type='result' id='slot1'><slot xmlns='{UPLOAD}'>{slot}</slot></iq>");
        Element::parse_in(xml.as_bytes(), &Limits::default(), &StreamContext::client()).unwrap()
    }

    #[test]
    fn a_slot_says_where_to_put_with_which_headers_and_where_to_get() {
        let slot = read(&answer(
            "<put url='https://upload.example/a?slot=b'><header name='Authorization'>Basic Q</header></put>\
             <get url='https://upload.example/a'/>",
        ))
        .unwrap();
        assert_eq!(slot.put, "https://upload.example/a?slot=b");
        assert_eq!(slot.get, "https://upload.example/a");
        let [(name, value)] = &slot.headers[..] else {
            panic!("one header");
        };
        assert_eq!(
            (name.as_str(), value.as_bytes()),
            ("authorization", &b"Basic Q"[..])
        );
    }

    #[test]
    fn half_a_slot_is_none() {
        assert!(read(&answer("<get url='https://upload.example/a'/>")).is_err());
        assert!(read(&answer("<put url='https://upload.example/a'/>")).is_err());
        assert!(read(&answer("<put url='not an address'/><get url='http://a/'/>")).is_err());
    }

    #[test]
    fn a_folder_is_an_address_with_a_slash_at_its_end() {
        assert!(folder("http://127.0.0.1:80/files/").is_ok());
        assert!(folder("http://127.0.0.1:80/files").is_err());
        assert!(folder("/files/").is_err());
    }
}
