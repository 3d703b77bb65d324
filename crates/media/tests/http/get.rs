//! Files that go out.

use crate::harness::World;

const CONTENT: &[u8] = b"0123456789abcdef";

#[tokio::test]
async fn an_answer_says_all_that_a_browser_must_know() {
    let world = World::new().await;
    let slot = world.file(CONTENT, "image/jpeg").await;
    let got = world.get(&slot).await;
    assert_eq!((got.status, got.body.as_slice()), (200, CONTENT));
    for (name, value) in [
        ("content-type", "image/jpeg"),
        ("content-length", "16"),
        (
            "content-disposition",
            "inline; filename=\"tr_s cool.jpg\"; filename*=UTF-8''tr%C3%A8s%20cool.jpg",
        ),
        // SHA-256 of the content.
        ("etag", "\"n59REfeyengfHx3d5evC3St5a_xzZcnCi1SOVkF2kp8\""),
        ("last-modified", "Sun, 22 Nov 2026 09:08:07 GMT"),
        ("accept-ranges", "bytes"),
        ("cache-control", "private, max-age=31536000, immutable"),
        ("x-content-type-options", "nosniff"),
        (
            "content-security-policy",
            "default-src 'none'; img-src 'self'; media-src 'self'; sandbox; frame-ancestors 'none'",
        ),
        ("cross-origin-resource-policy", "cross-origin"),
        ("referrer-policy", "no-referrer"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(got.field(name), Some(value), "{name}");
    }
    let head = world.ask("HEAD", &world.get_path(&slot), "", b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let without_date = |lines: &[String]| -> Vec<String> {
        let mut lines = lines.to_vec();
        lines.retain(|line| !line.starts_with("date: "));
        lines.sort();
        lines
    };
    assert_eq!(without_date(&head.head), without_date(&got.head));
}

#[tokio::test]
async fn what_a_browser_would_run_is_only_saved() {
    let world = World::new().await;
    for active in ["text/html", "image/svg+xml", "application/xhtml+xml"] {
        let slot = world.file(active.as_bytes(), active).await;
        let got = world.get(&slot).await;
        assert_eq!(got.field("content-type"), Some("application/octet-stream"));
        let disposition = got.field("content-disposition").unwrap();
        assert!(disposition.starts_with("attachment; "), "{disposition}");
    }
}

#[tokio::test]
async fn a_name_or_a_type_cannot_add_a_field() {
    let world = World::new().await;
    let mut slot = world.slot(CONTENT.len(), "image/png\r\nX-Evil: yes");
    slot.name = "a\" ;X-Evil=\u{2028}%0d%0aX-Evil: yes.png".to_owned();
    let put = world
        .ask("PUT", &world.put_path(&slot).await, "", CONTENT)
        .await;
    assert_eq!(put.status, 201, "{put:?}");
    let got = world.get(&slot).await;
    assert_eq!(got.field("x-evil"), None);
    assert_eq!(got.field("X-Evil"), None);
    assert_eq!(got.field("content-type"), Some("application/octet-stream"));
    let disposition = got.field("content-disposition").unwrap();
    assert!(
        disposition.starts_with("attachment; filename=\"a_ ;X-Evil=__0d_0aX-Evil: yes.png\"; "),
        "{disposition}"
    );
}

#[tokio::test]
async fn a_part_of_a_file() {
    let world = World::new().await;
    let slot = world.file(CONTENT, "video/mp4").await;
    let path = world.get_path(&slot);
    for (range, status, said, body) in [
        ("bytes=2-5", 206, Some("bytes 2-5/16"), "2345"),
        ("bytes=-3", 206, Some("bytes 13-15/16"), "def"),
        ("bytes=10-", 206, Some("bytes 10-15/16"), "abcdef"),
        ("bytes=0-1,4-5", 200, None, "0123456789abcdef"),
        (
            "bytes=16-",
            416,
            Some("bytes */16"),
            "the file has 16 bytes\n",
        ),
    ] {
        let got = world
            .ask("GET", &path, &format!("Range: {range}\r\n"), b"")
            .await;
        assert_eq!(got.status, status, "{range}");
        assert_eq!(got.field("content-range"), said, "{range}");
        assert_eq!(got.text(), body, "{range}");
        assert_eq!(
            got.field("content-length"),
            Some(body.len().to_string().as_str())
        );
    }
}

#[tokio::test]
async fn who_has_it_already_is_not_sent_it() {
    let world = World::new().await;
    let slot = world.file(CONTENT, "image/jpeg").await;
    let path = world.get_path(&slot);
    let etag = world.get(&slot).await.field("etag").unwrap().to_owned();
    for (fields, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (
            "If-Modified-Since: Sun, 22 Nov 2026 09:08:07 GMT\r\n".to_owned(),
            304,
        ),
        ("If-Match: \"other\"\r\n".to_owned(), 412),
        ("If-None-Match: \"other\"\r\n".to_owned(), 200),
        (format!("Range: bytes=1-\r\nIf-Range: {etag}\r\n"), 206),
        ("Range: bytes=1-\r\nIf-Range: \"other\"\r\n".to_owned(), 200),
    ] {
        let got = world.ask("GET", &path, &fields, b"").await;
        assert_eq!(got.status, status, "{fields}");
        if status == 304 {
            assert_eq!(got.field("etag"), Some(etag.as_str()));
            assert!(got.body.is_empty());
        }
    }
}

#[tokio::test]
async fn no_path_leads_anywhere_else() {
    let world = World::new().await;
    let slot = world.file(CONTENT, "image/jpeg").await;
    let id = &slot.id;
    let long = "a".repeat(2_000);
    for path in [
        "/media".to_owned(),
        "/media/".to_owned(),
        format!("/media/{id}"),
        format!("/media/{id}/"),
        format!("/media/{id}/.."),
        format!("/media/{id}/a/b"),
        format!("/media/{id}/a%2fb"),
        format!("/media/{id}/a%00"),
        format!("/media/{id}/{long}"),
        format!("/media/{id}%00/a"),
        format!("/media/../media/{id}/a"),
        format!("//media/{id}/a"),
        "/media/../../../../etc/passwd".to_owned(),
        "/media/%2e%2e/%2e%2e/etc/passwd".to_owned(),
        "/media/objects/aa".to_owned(),
        "/media/staging/a".to_owned(),
    ] {
        let got = world.ask("GET", &path, "", b"").await;
        assert_eq!(got.status, 404, "{path}");
    }
    let renamed = world.ask("GET", &format!("/media/{id}/any"), "", b"").await;
    assert_eq!(renamed.body, CONTENT);
}

#[tokio::test]
async fn pages_of_web_clients_may_do_all_that_is_done_here() {
    let world = World::new().await;
    let path = world.put_path(&world.slot(1, "")).await;
    let fields = "Origin: https://chat.example\r\nAccess-Control-Request-Method: PUT\r\n";
    let answer = world.ask("OPTIONS", &path, fields, b"").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    let methods = answer.field("access-control-allow-methods").unwrap();
    let fields = answer.field("access-control-allow-headers").unwrap();
    let read = answer.field("access-control-expose-headers").unwrap();
    for (among, what) in [
        (methods, "PUT"),
        (methods, "GET"),
        (methods, "PATCH"),
        (fields, "Content-Type"),
        (fields, "Authorization"),
        (fields, "Range"),
        (fields, "Upload-Offset"),
        (read, "Upload-Offset"),
        (read, "ETag"),
        (read, "Content-Range"),
    ] {
        assert!(
            among.split(", ").any(|part| part == what),
            "{what}: {among}"
        );
    }
    let refused = world.ask("POST", &path, "", b"").await;
    assert_eq!(refused.status, 405);
    assert_eq!(refused.field("allow"), Some(methods));
    assert_eq!(refused.field("access-control-allow-origin"), Some("*"));
}
