"""What somebody tries who means harm, over real sockets: each is answered with the right error, and nothing is stored."""

import asyncio
import contextlib
import http.client
import io
import re
import socket
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from interop.media import PLUGINS, Answer, configured, on_disk, picture, png, put, recognisable, request, slot
from interop.slix import session
from slixmpp.exceptions import IqError

KIB = 1024
MIB = 1024 * KIB
# The least that is allowed.
SLOT_SECONDS = 10


@pytest.fixture(autouse=True)
def only_ours(server):
    if "media limits" in server.lacks:
        pytest.skip(f"what {server.name} does with such things is not looked at")


@pytest.fixture
async def romeo(server):
    async with session(server, *server.new_user("romeo"), plugins=PLUGINS) as client:
        yield client


@pytest.fixture
async def juliet(server):
    async with session(server, *server.new_user("juliet"), plugins=PLUGINS) as client:
        yield client


def connected(server, timeout=30):
    return socket.create_connection((server.host, server.http_port), timeout)


def answers(sock):
    """All that comes back until the server closes or is silent: raw bytes."""
    parts = []
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def raw(server, text, half_close=False, timeout=5, method="GET"):
    """Sends this as it is, and reads the first answer; `None` when there is none."""
    with connected(server, timeout) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(text)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
        return parsed(answers(sock), method)


def parsed(received, method):
    if not received:
        return None

    class Recorded:
        def makefile(self, *_):
            return io.BytesIO(received)

    answer = http.client.HTTPResponse(Recorded(), method=method)
    answer.begin()
    return Answer(answer.status, answer.headers, answer.read())


def head(method, where, *lines):
    """The head of a request for an address of a slot."""
    target = urlsplit(where)
    path = target.path + (f"?{target.query}" if target.query else "")
    first = [f"{method} {path} HTTP/1.1", f"Host: {target.netloc}", "Connection: close", *lines]
    return ("\r\n".join(first) + "\r\n\r\n").encode()


def is_not_there(server, where, content):
    """Nobody gets it, and its bytes are not among the server's files."""
    assert request(where.get).status == 404
    assert not on_disk(server, content)


TRAVERSALS = [
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%252e%252e%252f%252e%252e%252fetc%252fpasswd",
    "..%5c..%5c..%5c..%5cetc%5cpasswd",
    "..%c0%af..%c0%af..%c0%afetc/passwd",
    "%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    "%uff0e%uff0e/%uff0e%uff0e/etc/passwd",
    "....//....//....//etc/passwd",
    "..;/..;/..;/etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "%00",
    "%00/../../etc/passwd",
    "./",
    "",
    ".",
    "..",
    "staging",
    "staging/",
    "objects/",
    "aaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaa/../../../../etc/passwd",
    "aaaaaaaaaaaaaaaaaaaaaaaa%2f..%2f..%2fetc%2fpasswd",
    "aaaaaaaaaaaaaaaaaaaaaaa%00/x",
    "a" * 10_000,
    "%",
    "%zz",
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_no_path_leads_out_of_the_files(server, method):
    before = set(server.folder.rglob("*"))
    for prefix in ("/media/", "/media"):
        for path in TRAVERSALS:
            text = f"{method} {prefix}{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nevil"
            answer = raw(server, text.encode("latin-1"), method=method)
            assert answer is not None, path
            assert 400 <= answer.status < 500, (path, answer.status)
            assert b"root:" not in answer.body
    for target in ("http://localhost/media/../../etc/passwd", "file:///etc/passwd", "*", "\\..\\..\\etc\\passwd"):
        text = f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = raw(server, text.encode(), method=method)
        assert answer is None or 400 <= answer.status < 500, target
    made = {path.name for path in set(server.folder.rglob("*")) - before}
    assert not any("passwd" in name or "evil" in name for name in made)


async def test_a_name_that_climbs_is_a_name(server, romeo):
    """Whatever a file is called, it lies where the server has put it."""
    for name in ("../../../../tmp/evil.sh", "..", ".", "/etc/cron.d/evil", "a/b\\c.txt", "..\\..\\evil.bat", "~root", "con"):
        content = recognisable(200)
        try:
            given = await slot(romeo, name, len(content), "text/plain")
        except IqError as refused:
            assert refused.iq["error"]["type"] in ("modify", "cancel"), name
            continue
        path = urlsplit(given.get).path
        assert re.fullmatch(r"/media/[a-z2-7]{24}/[^/]+", path), path
        assert path.rpartition("/")[2] not in (".", "..")
        assert put(given, content, "text/plain").status == 201
        assert request(given.get).body == content
        [where] = on_disk(server, content)
        assert re.fullmatch(r"[a-z2-7]{24}", where.name), where
        assert server.folder / "data" in where.parents
    assert not any("evil" in path.name for path in server.folder.rglob("*"))


INJECTIONS = [
    'a"; filename="evil.html',
    "a\r\nSet-Cookie: evil=1\r\n\r\n<script>",
    "a\nX-Evil: 1",
    "a\tb",
    "a\u2028X-Evil: 1\u0085b",
    "a%0d%0aX-Evil:%201.txt",
    "invoice\u202egnp.exe",
    "é" * 100 + ".png",
    "a" * 5_000 + ".png",
    "?query#fragment.png",
    "a;b=c,d.png",
    "''.png",
    " .png ",
]


async def test_a_name_brings_no_header_of_its_own(server, romeo):
    for name in INJECTIONS:
        content = recognisable(100)
        try:
            given = await slot(romeo, name, len(content), "image/png")
        except IqError as refused:
            assert refused.iq["error"]["type"] in ("modify", "cancel"), name
            continue
        for address in (given.put, given.get):
            assert re.fullmatch(r"[!-~]+", address), address
            assert "%0d" not in address.lower() and "%0a" not in address.lower(), address
        assert put(given, content, "image/png").status == 201, name
        answer = request(given.get)
        assert (answer.status, answer.body) == (200, content), name
        assert not {"x-evil", "set-cookie"} & {field.lower() for field in answer.headers.keys()}
        assert len(answer.headers.get_all("Content-Disposition", [])) <= 1
        assert answer.headers.get_filename() != "evil.html"


async def test_a_content_type_brings_no_header_of_its_own(server, romeo):
    for kind in (
        "text/html\r\nX-Evil: 1", "image/png\nX-Evil: 1", "text/html; charset=\"a\r\nX-Evil: 1\"", "nonsense", "/",
        "image/png, text/html", "image/" + "x" * 5_000, "ïmage/png", "image/png;" * 500, "text/html", "image/svg+xml",
        "text/xml", "application/xhtml+xml", "application/javascript", "application/pdf", "multipart/x-mixed-replace",
        "message/http",
    ):
        content = b"<script>document.title = 'evil'</script>" + recognisable(100)
        try:
            given = await slot(romeo, "a.bin", len(content), kind)
        except IqError as refused:
            assert refused.iq["error"]["type"] in ("modify", "cancel"), kind
            continue
        try:
            done = put(given, content, kind)
        except (ValueError, UnicodeEncodeError):
            continue  # http.client does not send such a header; the slot has been refused no harm is done
        if done.status != 201:
            assert 400 <= done.status < 500, kind
            is_not_there(server, given, content)
            continue
        answer = request(given.get)
        assert answer.status == 200
        assert "x-evil" not in {field.lower() for field in answer.headers.keys()}
        is_inert(answer)


def is_inert(answer):
    """A browser neither guesses what it is nor runs what is in it."""
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox" in policy and "default-src 'none'" in policy
    kind = answer.headers["Content-Type"].partition(";")[0].strip()
    if not kind.startswith(("image/", "audio/", "video/")) or kind == "image/svg+xml":
        assert answer.headers.get_content_disposition() == "attachment", kind


async def test_headers_of_an_upload_are_not_taken_for_others(server, romeo):
    for line in (
        "Content-Type: image/png\r\n X-Evil: 1",
        "Content-Type: image/png\rX-Evil: 1",
        "Content-Type: image/png\0",
        "Content-Type : image/png",
        "Content-Type: text/html",
        "Content-Encoding: gzip",
        "Content-Range: bytes 0-99/1000",
    ):
        content = recognisable(100)
        given = await slot(romeo, "a.png", len(content), "image/png")
        lines = [line, f"Content-Length: {len(content)}"]
        if not line.startswith("Content-Type"):
            lines.append("Content-Type: image/png")
        answer = raw(server, head("PUT", given.put, *lines) + content)
        assert answer is None or 400 <= answer.status < 500, line
        is_not_there(server, given, content)


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(server, romeo):
    content = recognisable(2 * MIB)
    given = await slot(romeo, "a.bin", 100, "application/octet-stream")
    answer = put(given, content[:101])
    assert answer.status == 413
    # The answer comes before the body does.
    announced = head("PUT", given.put, "Content-Type: application/octet-stream", f"Content-Length: {1 << 60}")
    answer = raw(server, announced)
    assert answer.status == 413
    is_not_there(server, given, content)
    # The slot is none the worse.
    assert put(given, content[:100]).status == 201


async def test_a_length_that_lies(server, romeo):
    content = recognisable(5_000)
    kind = "Content-Type: application/octet-stream"
    for lines in (
        [f"Content-Length: {len(content) - 1}"],
        [f"Content-Length: {len(content) + 1}"],
        ["Content-Length: -5"],
        ["Content-Length: +5000"],
        ["Content-Length: 0x1388"],
        ["Content-Length: 5000, 5001"],
        [f"Content-Length: {len(content)}", "Content-Length: 3"],
        [f"Content-Length: {len(content)}", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Content-Length: 99999999999999999999999"],
        [],
    ):
        given = await slot(romeo, "a.bin", len(content), "application/octet-stream")
        answer = raw(server, head("PUT", given.put, kind, *lines) + content)
        assert answer is None or 400 <= answer.status < 500, lines
        is_not_there(server, given, content)


async def test_a_body_that_breaks_off_is_nowhere_to_be_seen(server, romeo):
    content = recognisable(300 * KIB)
    given = await slot(romeo, "a.bin", len(content), "application/octet-stream")
    lines = ["Content-Type: application/octet-stream", f"Content-Length: {len(content)}"]
    raw(server, head("PUT", given.put, *lines) + content[: 200 * KIB], half_close=True)
    assert request(given.get).status == 404
    # What has come may wait for the rest, in a place of its own and only there.
    assert all("staging" in path.parts for path in on_disk(server, content))


async def test_more_than_the_length_is_another_request(server, romeo):
    content = recognisable(1_000)
    given = await slot(romeo, "a.bin", len(content), "application/octet-stream")
    lines = ["Content-Type: application/octet-stream", f"Content-Length: {len(content)}"]
    smuggled = recognisable(500)
    with connected(server, 5) as sock:
        sock.sendall(head("PUT", given.put, *lines) + content + smuggled)
        sock.shutdown(socket.SHUT_WR)
        received = answers(sock)
    assert received.startswith(b"HTTP/1.1 201 ")
    assert b"HTTP/1.1 400 " in received or received.count(b"HTTP/1.1 ") == 1
    assert request(given.get).body == content
    assert not on_disk(server, smuggled)


async def test_a_body_in_chunks_has_no_length_and_no_place(server, romeo):
    content = recognisable(1_000)
    for body in (b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content), b"fffffffffffffffff\r\n", b"zz\r\n"):
        given = await slot(romeo, "a.bin", len(content), "application/octet-stream")
        lines = ["Content-Type: application/octet-stream", "Transfer-Encoding: chunked"]
        answer = raw(server, head("PUT", given.put, *lines) + body)
        assert answer.status in (400, 411), body
        is_not_there(server, given, content)


async def test_a_slot_is_good_once(server, romeo):
    first, second = recognisable(100), recognisable(100)
    given = await slot(romeo, "a.bin", 100)
    assert put(given, first).status == 201
    assert put(given, second).status == 409
    assert request(given.get).body == first
    assert not on_disk(server, second)


async def test_a_slot_is_good_once_even_when_it_is_used_at_the_same_moment(server, romeo):
    contents = [recognisable(100 * KIB) for _ in range(8)]
    given = await slot(romeo, "a.bin", 100 * KIB)
    done = await asyncio.gather(*(asyncio.to_thread(put, given, content) for content in contents))
    assert sorted(answer.status == 201 for answer in done) == [False] * 7 + [True]
    assert all(answer.status in (201, 400, 409) for answer in done), [answer.status for answer in done]
    [winner] = [content for content, answer in zip(contents, done, strict=True) if answer.status == 201]
    assert request(given.get).body == winner
    for content in contents:
        assert len(on_disk(server, content)) == (content is winner)


async def test_no_letter_of_a_slot_can_be_changed(server, romeo):
    content = recognisable(100)
    given = await slot(romeo, "a.bin", 100)
    base, _, token = given.put.partition("?slot=")
    assert token, given.put
    for at in range(0, len(token), 7):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        answer = request(f"{base}?slot={changed}", "PUT", content)
        assert answer.status == 403, at
    for other in ("", token[:-1], token + "A", token[:20], "%00", token.upper(), "=" * 5_000):
        answer = request(f"{base}?slot={other}", "PUT", content)
        assert 400 <= answer.status < 500, other[:50]
    assert request(base, "PUT", content).status in (401, 403, 405)
    is_not_there(server, given, content)


async def test_a_slot_is_for_one_address(server, romeo, juliet):
    """Juliet's slot at Romeo's address, and the other way about."""
    content = recognisable(100)
    hers, his = await slot(juliet, "a.bin", 100), await slot(romeo, "a.bin", 100)
    his_base, _, his_token = his.put.partition("?")
    her_base, _, her_token = hers.put.partition("?")
    for address in (f"{her_base}?{his_token}", f"{his_base}?{her_token}", f"{his_base}x?{his_token}"):
        answer = request(address, "PUT", content)
        assert answer.status in (403, 404), address
    is_not_there(server, hers, content)
    is_not_there(server, his, content)


async def test_a_slot_grows_old():
    server = configured("[media]", f'slot_lifetime = "{SLOT_SECONDS}s"')
    with contextlib.closing(server):
        server.start()
        content = recognisable(100)
        async with session(server, *server.new_user("romeo"), plugins=PLUGINS) as romeo:
            given = await slot(romeo, "a.bin", 100)
            await asyncio.sleep(SLOT_SECONDS + 0.5)  # the time is the slot's own
            assert put(given, content).status == 410
            is_not_there(server, given, content)


async def test_another_account_neither_lists_nor_uses_up_what_is_not_its_own(server, romeo, juliet):
    """Slots and quotas are by account; a slot that somebody else asks for in one's name is refused."""
    iq = romeo.make_iq_get(ito=f"upload.{server.domain}", ifrom=juliet.boundjid)
    iq["http_upload_request"]["filename"], iq["http_upload_request"]["size"] = "a.bin", "100"
    with pytest.raises(Exception):
        await iq.send(timeout=5)


def memory(server):
    """The most memory that the server has had, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * KIB


async def test_a_picture_that_unfolds_to_gigabytes_is_not_unfolded(server, romeo):
    """Decompression bombs: what the header says is believed, and what the header does not say is not read."""
    line = b"\0" + bytes(30_000 // 8)
    bombs = {
        "wide.png": png(30_000, 30_000, line * 30_000, depth=1, colours=0),
        "endless.png": png(2_000_000_000, 2_000_000_000, line * 1_000),
        "more.png": png(10, 10, bytes(200 * MIB)),
        "cut.png": picture()[:-200],
        "text.png": b"this is no picture",
    }
    before = memory(server)
    for name, content in bombs.items():
        given = await slot(romeo, name, len(content), "image/png")
        assert put(given, content, "image/png").status == 201
        began = time.monotonic()
        answer = await asyncio.to_thread(request, given.get.rpartition("/")[0] + "/preview")
        # Of what is a picture as far as it goes there may be a small one.
        assert answer.status == 404 or (answer.status == 200 and name in ("more.png", "cut.png")), (name, answer.status)
        assert time.monotonic() - began < 20, name
        # It is a file like any other all the same.
        assert request(given.get).body == content
    assert memory(server) - before < 300 * MIB


async def test_who_uploads_by_single_bytes_holds_up_nobody(server, romeo):
    """Slowloris, in heads and in bodies: others are served meanwhile."""
    content = recognisable(1_000)
    slow = []
    with contextlib.ExitStack() as stack:
        for number in range(20):
            given = await slot(romeo, f"{number}.bin", 1_000)
            sock = stack.enter_context(connected(server))
            sock.sendall(head("PUT", given.put, "Content-Length: 1000", "Content-Type: application/octet-stream"))
            slow.append((sock, given))
        for _ in range(50):
            sock = stack.enter_context(connected(server))
            sock.sendall(b"GET /media/aaaaaaaaaaaaaaaaaaaaaaaa/x HTTP/1.1\r\nHost: a\r\nX: ")
            slow.append((sock, None))
        for byte in range(5):
            for sock, _ in slow:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    sock.sendall(content[byte : byte + 1])
            quick = await slot(romeo, "quick.bin", 1_000)
            began = time.monotonic()
            assert put(quick, recognisable(1_000)).status == 201
            assert request(quick.get).status == 200
            assert time.monotonic() - began < 5
    for _, given in slow[:20]:
        assert request(given.get).status == 404


async def test_thousands_of_pieces_are_not_cut(server, romeo):
    content = recognisable(100 * KIB)
    given = await slot(romeo, "a.bin", len(content))
    assert put(given, content).status == 201
    pieces = ",".join(f"{at}-{at}" for at in range(0, 5_000, 2))
    overlapping = ",".join(["0-"] * 3_000)
    for span in (pieces, pieces[: 10 * KIB].rpartition(",")[0], overlapping, overlapping[:300], "0-0,-1"):
        try:
            answer = request(given.get, headers={"Range": f"bytes={span}"})
        except (http.client.HTTPException, ConnectionError):
            continue
        assert answer.status in (200, 206, 416, 431), span[:30]
        assert len(answer.body) <= len(content) + KIB
    for span in ("bytes=5-2", "bytes=-0", "bytes=99999999999999999999-", "bytes=a-b", "items=0-1", "bytes=", "bytes=--1", "0-1"):
        answer = request(given.get, headers={"Range": span})
        assert answer.status in (200, 416), span
        assert answer.status == 416 or answer.body == content, span


async def test_methods_that_are_none_of_ours(server, romeo):
    content = recognisable(100)
    given = await slot(romeo, "a.bin", 100)
    assert put(given, content).status == 201
    for method in ("POST", "TRACE", "PROPFIND", "MKCOL", "MOVE", "COPY", "EVIL"):
        answer = request(given.get, method, b"", {"Destination": "/media/evil"})
        assert answer.status in (400, 405, 501), method
        assert answer.headers["Allow"] or answer.status != 405
    for method in ("PUT", "DELETE", "PATCH"):
        answer = request(given.get, method, b"evil")
        assert answer.status in (400, 401, 403, 404, 405, 409, 412, 415), method
    assert request(given.get).body == content


async def test_the_log_tells_nobody_where_files_are(server, romeo):
    content = recognisable(100)
    given = await slot(romeo, "very-private-name.bin", 100)
    assert put(given, content).status == 201
    assert request(given.get).status == 200
    name, token = urlsplit(given.get).path.split("/")[2], given.put.partition("slot=")[2]
    log = server.log_file.read_text(errors="replace")
    for secret in ("very-private-name", name, token):
        assert quote(secret) not in log
