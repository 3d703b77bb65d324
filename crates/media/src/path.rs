//! Which file an address means. Nothing of it ever becomes a name on a disk: the id is one that could have been given
//! out, and the name after it is only compared or ignored.

use http::Uri;
use percent_encoding::percent_decode_str;
use posthaste_im::media::{FileId, PATH};

/// Bytes of the name in an address, percent-encoded: what file systems call a file, three bytes for each.
const MOST_NAME_BYTES: usize = 3 * 255;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The file.
    pub(crate) id: FileId,
    /// What the address calls it; never a path, never with control characters.
    pub(crate) name: String,
    /// The path as it was asked for.
    pub(crate) path: String,
    /// The slot, where the address is one to upload to.
    pub(crate) slot: Option<String>,
}

impl Target {
    /// Reads the address of a file: `/media/<id>/<name>`, with `?slot=<token>` for an upload. `None`: it is of no file.
    pub(crate) fn of(uri: &Uri) -> Option<Target> {
        let path = uri.path();
        let rest = path.strip_prefix(PATH)?.strip_prefix('/')?;
        let (id, name) = rest.split_once('/')?;
        Some(Target {
            id: FileId::parse(id)?,
            name: name_of(name)?,
            path: path.to_owned(),
            slot: uri.query().and_then(slot_of).map(str::to_owned),
        })
    }
}

fn name_of(encoded: &str) -> Option<String> {
    if encoded.len() > MOST_NAME_BYTES {
        return None;
    }
    let name = percent_decode_str(encoded).decode_utf8().ok()?;
    let is_name = !name.is_empty()
        && !matches!(&*name, "." | "..")
        && !name.contains(['/', '\\'])
        && !name.chars().any(char::is_control);
    is_name.then(|| name.into_owned())
}

fn slot_of(query: &str) -> Option<&str> {
    query
        .split('&')
        .find_map(|parameter| parameter.strip_prefix("slot="))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "abcdefghijklmnopqrstuvw7";

    fn of(uri: &str) -> Option<Target> {
        Target::of(&uri.parse().ok()?)
    }

    #[test]
    fn an_address_names_a_file_and_perhaps_a_slot() {
        let target = of(&format!("/media/{ID}/tr%C3%A8s%20cool.jpg?a=b&slot=AB_-")).unwrap();
        assert_eq!(target.id.as_str(), ID);
        assert_eq!(target.name, "très cool.jpg");
        assert_eq!(target.slot.as_deref(), Some("AB_-"));
        assert_eq!(of(&format!("/media/{ID}/a")).unwrap().slot, None);
        let absolute = of(&format!("http://example.org:5280/media/{ID}/a?slot=x"));
        assert_eq!(absolute.unwrap().slot.as_deref(), Some("x"));
    }

    #[test]
    fn what_could_leave_its_folder_is_no_address() {
        let long = "a".repeat(MOST_NAME_BYTES + 1);
        for rest in [
            "",
            "/",
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..%2f..%2fetc%2fpasswd/a",
            &format!("/{ID}"),
            &format!("/{ID}/"),
            &format!("/{ID}/.."),
            &format!("/{ID}/%2e%2e"),
            &format!("/{ID}/a/b"),
            &format!("/{ID}/a%2Fb"),
            &format!("/{ID}/a%5Cb"),
            &format!("/{ID}/a%00b"),
            &format!("/{ID}/a%0d%0aSet-Cookie:%20b"),
            &format!("/{ID}/%FF"),
            &format!("/{ID}%00/a"),
            &format!("/{ID}/{long}"),
            &format!("/{}/a", ID.to_uppercase()),
            &format!("//{ID}/a"),
        ] {
            assert_eq!(of(&format!("/media{rest}")), None, "{rest}");
        }
        assert_eq!(of(&format!("/mediae/{ID}/a")), None);
    }
}
