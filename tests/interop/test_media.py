"""slixmpp sends files (XEP-0363), and others get what was sent."""

import asyncio
import io
import secrets
from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree as ET

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from interop.media import PLUGINS, PURPOSE, UPLOAD, configured, picture, put, recognisable, request, service, slot
from interop.servers import chosen
from interop.slix import TIMEOUT, session
from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0363.http_upload import FileTooBig

KIB = 1024


@pytest.fixture(autouse=True)
def only_with_uploads(server):
    if "HTTP upload" in server.lacks:
        pytest.skip(f"{server.name} has no HTTP upload here")


@pytest.fixture(scope="module")
def small():
    """A server where little may be uploaded."""
    if "media limits" in chosen().lacks:
        pytest.skip(f"the limits of {chosen().name} are not looked at")
    running = configured(
        "[media]",
        'file_size = "64 KiB"',
        'account_size = "150 KiB"',
        'daily_size = "200 KiB"',
    )
    try:
        yield running.start()
    finally:
        running.close()


async def sends(client, name, content, content_type=None, to=None, purpose=None):
    """slixmpp's own way from a file to its address; sent to somebody, with XEP-0066."""
    address = await client.plugin["xep_0363"].upload_file(
        name, size=len(content), content_type=content_type, input_file=io.BytesIO(content), timeout=TIMEOUT,
        purpose=purpose,
    )
    if to:
        message = client.make_message(mto=to, mbody=address, mtype="chat")
        message["oob"]["url"] = address
        message.send()
    return address


async def file_message(client):
    """The next message that names a file."""
    while not (message := await client.happens("message"))["oob"]["url"]:
        pass
    assert message["body"] == message["oob"]["url"]
    return message["oob"]["url"]


async def test_the_service_is_found_and_says_how_large_a_file_may_be(server):
    async with session(server, *server.new_user(), plugins=PLUGINS) as client:
        items = await client.plugin["xep_0030"].get_items(server.domain, timeout=TIMEOUT)
        assert str(await service(client)) in {item[0] for item in items["disco_items"]["items"]}
        info = await client.plugin["xep_0030"].get_info(await service(client), timeout=TIMEOUT)
        expected = {UPLOAD}
        if "upload purposes" not in server.lacks:
            expected |= {f"{PURPOSE}#{purpose}" for purpose in ("message", "profile", "ephemeral", "permanent")}
        assert expected <= set(info["disco_info"]["features"])
        form = next(form for form in info["disco_info"].iterables if form["values"]["FORM_TYPE"] == [UPLOAD])
        assert int(form["values"]["max-file-size"]) >= 100 * KIB * KIB


async def test_a_picture_is_sent_and_the_other_side_has_the_same_bytes(server):
    content = picture()
    async with (
        session(server, *server.new_user("romeo"), plugins=PLUGINS) as romeo,
        session(server, *server.new_user("juliet"), plugins=PLUGINS) as juliet,
    ):
        await sends(romeo, "très cool & <new>.png", content, to=juliet.boundjid.bare)
        address = await file_message(juliet)
        assert address.isascii() and address.endswith(".png"), address
        whole = request(address)
        assert (whole.status, whole.body) == (200, content)
        assert whole.headers["Content-Type"] == "image/png"
        assert whole.headers["Accept-Ranges"] == "bytes"
        head = request(address, "HEAD")
        assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(content)), b"")
        assert head.headers["ETag"] == whole.headers["ETag"]


async def test_a_download_goes_on_where_it_broke_off_and_is_not_repeated(server):
    if "ETag" in server.lacks:
        pytest.skip(f"{server.name} does not say when a file is the same")
    content = secrets.token_bytes(300 * KIB + 7)
    async with session(server, *server.new_user(), plugins=PLUGINS) as client:
        address = await sends(client, "album.bin", content)
    etag = request(address, "HEAD").headers["ETag"]
    for span, expected in (
        ("bytes=0-0", content[:1]),
        ("bytes=1000-", content[1000:]),
        ("bytes=-10", content[-10:]),
        (f"bytes=200-{len(content) + 999}", content[200:]),
    ):
        part = request(address, headers={"Range": span, "If-Range": etag})
        assert (part.status, part.body) == (206, expected), span
        start = content.index(expected) if span != "bytes=0-0" else 0
        assert part.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/{len(content)}"
    changed = request(address, headers={"Range": "bytes=5-", "If-Range": '"another"'})
    assert (changed.status, changed.body) == (200, content)
    beyond = request(address, headers={"Range": f"bytes={len(content)}-"})
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(content)}")
    for header in ({"If-None-Match": etag}, {"If-None-Match": f'"other", W/{etag}'}, {"If-None-Match": "*"}):
        known = request(address, headers=header)
        assert (known.status, known.body, known.headers["ETag"]) == (304, b"", etag), header
    refused = request(address, headers={"If-Match": '"another"'})
    assert refused.status == 412


async def test_a_file_that_is_too_large_gets_no_slot(small):
    async with session(small, *small.new_user(), plugins=PLUGINS) as client:
        with pytest.raises(FileTooBig):
            await sends(client, "film.mp4", bytes(65 * KIB))
        with pytest.raises(IqError) as refused:
            await slot(client, "film.mp4", 65 * KIB, "video/mp4")
        error = refused.value.iq["error"]
        assert (error["type"], error["condition"]) == ("modify", "not-acceptable")
        told = refused.value.iq.xml.find(f".//{{{UPLOAD}}}file-too-large/{{{UPLOAD}}}max-file-size")
        assert told.text == str(64 * KIB)
        for size in ("0", "-1", "18446744073709551616", "many", ""):
            with pytest.raises(IqError) as refused:
                await slot(client, "a.txt", size)
            assert refused.value.iq["error"]["type"] == "modify", size


async def test_who_has_uploaded_enough_is_told_when_there_is_more(small):
    async with session(small, *small.new_user(), plugins=PLUGINS) as client:
        for number in range(2):
            await sends(client, f"{number}.bin", recognisable(60 * KIB))
        with pytest.raises(IqError) as full:
            await slot(client, "third.bin", 60 * KIB)
        error = full.value.iq["error"]
        assert (error["type"], error["condition"]) == ("wait", "resource-constraint")
        # What fits is taken.
        assert (await slot(client, "fits.bin", 10 * KIB)).put


async def test_the_same_bytes_twice_take_the_room_of_one(small):
    content = recognisable(60 * KIB)
    async with session(small, *small.new_user(), plugins=PLUGINS) as client:
        first = await sends(client, "once.bin", content)
        second = await sends(client, "twice.bin", content)
        assert first != second
        third = await sends(client, "thrice.bin", content)
        for address in (first, second, third):
            assert request(address).body == content
        # 180 KiB have gone over the line today, 60 KiB are there.
        with pytest.raises(IqError) as enough:
            await slot(client, "more.bin", 50 * KIB)
        assert enough.value.iq["error"]["condition"] == "resource-constraint"
        retry = enough.value.iq.xml.find(f".//{{{UPLOAD}}}retry").get("stamp")
        tomorrow = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        assert datetime.fromisoformat(retry.replace("Z", "+00:00")) == tomorrow


async def test_slots_for_each_purpose(server):
    if "upload purposes" in server.lacks:
        pytest.skip(f"{server.name} knows no purposes")
    async with session(server, *server.new_user(), plugins=PLUGINS) as client:
        for purpose in ("message", "profile", "permanent"):
            content = recognisable(KIB)
            assert request(await sends(client, f"{purpose}.bin", content, purpose=purpose)).body == content


async def test_what_is_ephemeral_is_gone_when_it_says_so(server):
    if "upload purposes" in server.lacks:
        pytest.skip(f"{server.name} knows no purposes")
    until = datetime.now(timezone.utc) + timedelta(seconds=4)
    ephemeral = ET.Element(f"{{{PURPOSE}}}ephemeral", {"expire-before": until.strftime("%Y-%m-%dT%H:%M:%S.%fZ")})
    content = recognisable(KIB)
    async with session(server, *server.new_user(), plugins=PLUGINS) as client:
        given = await slot(client, "story.jpg", len(content), "image/jpeg", purpose=ephemeral)
        assert put(given, content, "image/jpeg").status == 201
        assert request(given.get).body == content
        while datetime.now(timezone.utc) <= until:
            await asyncio.sleep(0.2)  # the moment is the story's own
        assert request(given.get).status in (404, 410)
        for wrong in ({}, {"expire-before": "soon"}, {"expire-before": "2020-01-01T00:00:00Z"}):
            with pytest.raises(IqError) as refused:
                await slot(client, "story.jpg", 5, purpose=ET.Element(f"{{{PURPOSE}}}ephemeral", wrong))
            assert refused.value.iq["error"]["type"] in ("modify", "cancel"), wrong


async def test_an_encrypted_file_passes_untouched(server):
    """XEP-0454: what the server has is noise; the key is in the message, behind the `#` of the address."""
    plain = picture(marker=recognisable(64))
    key, iv = AESGCM.generate_key(256), recognisable(12)
    sealed = AESGCM(key).encrypt(iv, plain, None)
    async with (
        session(server, *server.new_user("romeo"), plugins=PLUGINS) as romeo,
        session(server, *server.new_user("juliet"), plugins=PLUGINS) as juliet,
    ):
        # Clients differ in what they call its type; Conversations keeps the picture's ending.
        address = await sends(romeo, "4c7b.png", sealed, "application/octet-stream")
        link = address.replace("http:", "aesgcm:").replace("https:", "aesgcm:") + f"#{iv.hex()}{key.hex()}"
        romeo.send_message(mto=juliet.boundjid.bare, mbody=link, mtype="chat")
        [got] = await juliet.bodies(1)
        assert got == link
        where, _, secret = got.partition("#")
        fetched = request(where.replace("aesgcm:", "http:"))
        assert fetched.body == sealed
        iv, key = bytes.fromhex(secret[:24]), bytes.fromhex(secret[24:])
        assert AESGCM(key).decrypt(iv, fetched.body, None) == plain
        if "previews" not in server.lacks:
            # There is nothing to see in it.
            assert request(where.replace("aesgcm:", "http:").rpartition("/")[0] + "/preview").status == 404
