//! The addresses of files, as they stand in messages.

use posthaste_proto::xep::upload::percent_encoded;

use super::FileId;

/// Where files are on the HTTP port.
pub const PATH: &str = "/media";

/// The address of a file: `base` is the host's [`crate::config::HostConfig::media_base`], the name is only shown.
pub fn address(base: &str, id: &FileId, name: &str) -> String {
    format!("{base}{PATH}/{id}/{}", percent_encoded(name))
}

/// The file of an address of ours, whatever it calls the file; `None` for what is elsewhere.
pub fn file_in(base: &str, address: &str) -> Option<FileId> {
    let rest = address.strip_prefix(base)?.strip_prefix(PATH)?;
    let (id, _) = rest.strip_prefix('/')?.split_once('/')?;
    FileId::parse(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_the_address_that_was_given_out() {
        let id = FileId::parse("abcdefghijklmnopqrstuvw7").unwrap();
        let base = "https://example.org:5443";
        let ours = address(base, &id, "très cool.jpg");
        assert_eq!(
            ours,
            "https://example.org:5443/media/abcdefghijklmnopqrstuvw7/tr%C3%A8s%20cool.jpg"
        );
        assert_eq!(file_in(base, &ours), Some(id));
        for other in [
            "",
            "https://example.org:5443",
            "https://example.org:5443/media/abcdefghijklmnopqrstuvw7",
            "https://example.org:5443/media/../abcdefghijklmnopqrstuvw7/a",
            "https://example.org:54430/media/abcdefghijklmnopqrstuvw7/a",
            "http://example.org:5443/media/abcdefghijklmnopqrstuvw7/a",
            "https://capulet.example/media/abcdefghijklmnopqrstuvw7/a",
        ] {
            assert_eq!(file_in(base, other), None, "{other}");
        }
    }
}
