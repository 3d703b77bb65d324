"""@xmpp/client (npm) over TCP and WebSocket, with a slixmpp user at the other end."""

import asyncio
import base64
import contextlib
import json
import os
import uuid
from pathlib import Path

import pytest
from interop.media import PLUGINS, configured, picture, recognisable, request
from interop.rooms import found, new_room, people
from interop.servers import chosen
from interop.slix import TIMEOUT, session

DEVICE = Path(__file__).parent / "xmppjs" / "device.mjs"


class Device:
    """A Node process running device.mjs."""

    def __init__(self, process):
        self.process = process
        self.waiting = []

    def tell(self, command, **more):
        self.process.stdin.write(json.dumps({"command": command, **more}).encode() + b"\n")

    async def happens(self, *events):
        """The next of `events`; others wait in line for whoever asks for them."""
        for event in self.waiting:
            if event["event"] in events:
                self.waiting.remove(event)
                return event
        async with asyncio.timeout(TIMEOUT):
            while line := await self.process.stdout.readline():
                event = json.loads(line)
                if event["event"] == "failed" and "failed" not in events:
                    raise AssertionError(f"the device could not connect: {event}")
                if event["event"] in events:
                    return event
                self.waiting.append(event)
        raise AssertionError(f"the device ended; it told {self.waiting}")

    async def bodies(self, count):
        return [(await self.happens("message"))["body"] for _ in range(count)]

    async def ask(self, to, name, xmlns):
        self.tell("ask", to=to, name=name, xmlns=xmlns)
        return await self.happens("answer")


@contextlib.asynccontextmanager
async def device(server, service, user, password, **options):
    settings = {
        "service": service, "domain": server.domain, "username": user, "password": password, **options,
    }
    process = await asyncio.create_subprocess_exec(
        "node", str(DEVICE), json.dumps(settings),
        # A line may hold a file.
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
        env=os.environ | {"NODE_EXTRA_CA_CERTS": str(server.certificate), "NODE_NO_WARNINGS": "1"},
    )
    try:
        yield Device(process)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()


ROADS = ["starttls", "direct TLS", "websocket"]


def service(server, road):
    return {
        "starttls": f"xmpp://{server.host}:{server.port}",
        "direct TLS": f"xmpps://{server.domain}:{server.tls_port}",
        "websocket": server.websocket,
    }[road]


@pytest.mark.parametrize("road", ROADS)
async def test_xmppjs_chats_with_slixmpp(server, road):
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo) as r, device(server, service(server, road), *juliet) as j:
        jid = (await j.happens("online"))["jid"]
        assert jid.startswith(f"{juliet[0]}@{server.domain}/")
        j.tell("presence")
        await j.ask(server.domain, "ping", "urn:xmpp:ping")
        r.send_message(mto=jid, mbody="Ünïcode <over> any road & 🎉", mtype="chat")
        got = await j.happens("message")
        assert (got["body"], got["from"]) == ("Ünïcode <over> any road & 🎉", str(r.boundjid))
        j.tell("message", to=got["from"], body="and back", id="back1")
        answer = await r.happens("message")
        assert (answer["body"], str(answer["from"])) == ("and back", jid)


@pytest.mark.parametrize("road", ROADS)
async def test_xmppjs_gets_what_waited(server, road):
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo) as r:
        for number in range(30):
            r.send_message(mto=f"{juliet[0]}@{server.domain}", mbody=f"m{number}", mtype="chat")
        await r.settle()
    async with device(server, service(server, road), *juliet) as j:
        await j.happens("online")
        j.tell("presence")
        assert await j.bodies(30) == [f"m{n}" for n in range(30)]


@pytest.mark.parametrize("road", ["starttls", "websocket"])
async def test_xmppjs_resumes_after_a_cut(server, road):
    """No query before a cut: @xmpp/client 0.14 does not count their answers, and so gets more again.

    Over TCP it reads stanzas that come in one piece with <success/> with a parser that has just been reset, and calls
    them badly formed. So there nothing waits while the line is cut; over WebSocket everything does.
    """
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo) as r, device(server, service(server, road), *juliet) as j:
        jid = (await j.happens("online"))["jid"]
        j.tell("message", to=str(r.boundjid), body="ready", id="s0")
        assert await r.bodies(1) == ["ready"]
        r.send_message(mto=jid, mbody="so am I", mtype="chat")
        assert await j.bodies(1) == ["so am I"]
        expected, got = [], []
        for round_number in range(3):
            for number in range(10):
                expected.append(f"{round_number}.{number}")
                r.send_message(mto=jid, mbody=expected[-1], mtype="chat")
            if road == "starttls":
                got += await j.bodies(10)
                # Behind its acknowledgement, which has arrived when this has.
                j.tell("message", to=str(r.boundjid), body="got them", id=f"got{round_number}")
                assert await r.bodies(1) == ["got them"]
            j.tell("cut")
            assert await j.happens("resumed", "fail", "failed") == {"event": "resumed"}
            # At rest before the next cut: cut while it still resumes, @xmpp/client may not dial again.
            j.tell("message", to=str(r.boundjid), body="back", id=f"back{round_number}")
            assert await r.bodies(1) == ["back"]
        j.tell("message", to=str(r.boundjid), body="still here", id="s1")
        assert (await r.happens("message"))["from"] == jid
        await r.settle()
        await j.ask(server.domain, "ping", "urn:xmpp:ping")
        got += await j.bodies(len(expected) - len(got))
        assert got == expected


async def test_xmppjs_is_told_that_the_password_is_wrong(server):
    user, _ = server.new_user()
    async with device(server, service(server, "starttls"), user, "wrong") as j:
        failure = await j.happens("failed", "online")
        assert failure["condition"] == "not-authorized"


async def test_xmppjs_signs_in_again_with_a_token(server):
    """SASL2 with Bind 2 and FAST (XEP-0388, -0386, -0484): the second sign-in shows no password."""
    if "FAST" in server.lacks:
        pytest.skip(f"{server.name} has no FAST")
    user, password = server.new_user()
    agent = str(uuid.uuid4())
    road = service(server, "starttls")
    async with device(server, road, user, password, userAgent=agent) as first:
        used = await first.happens("mechanism")
        assert used == {
            "event": "mechanism", "mechanism": "SCRAM-SHA-1", "profile": "urn:xmpp:sasl:2",
        }
        token = (await first.happens("token"))["token"]
        assert (await first.happens("online"))["jid"].startswith(f"{user}@{server.domain}/")
        assert token["mechanism"] == "HT-SHA-256-NONE"
        first.tell("stop")
        await first.process.wait()
    async with device(server, road, user, "no password", userAgent=agent, token=token) as again:
        assert (await again.happens("mechanism"))["mechanism"] == "HT-SHA-256-NONE"
        assert (await again.happens("online"))["jid"].startswith(f"{user}@{server.domain}/")
        again.tell("presence")
        assert "condition" not in await again.ask(server.domain, "ping", "urn:xmpp:ping")
    async with device(server, road, user, "no password", userAgent=str(uuid.uuid4()), token=token) as thief:
        assert (await thief.happens("failed", "online"))["event"] == "failed"


@pytest.mark.parametrize("road", ["starttls", "websocket"])
async def test_xmppjs_enters_a_room_and_talks(server, road):
    romeo, room = server.new_user("romeo"), new_room(server)
    async with people(server, "juliet") as (j,), device(server, service(server, road), *romeo) as r:
        juliet = await found(j, room, "Juliet")
        juliet.says("Who is there?")
        await juliet.hears()
        await r.happens("online")
        r.tell("enter", room=str(room), nick="Juliet")
        assert (await r.happens("occupant"))["condition"] == "conflict"
        r.tell("enter", room=str(room), nick="Romeo")
        other, own = await r.happens("occupant"), await r.happens("occupant")
        assert (other["from"], other["role"]) == (f"{room}/Juliet", "moderator")
        assert (own["from"], own["role"], "110" in own["codes"]) == (f"{room}/Romeo", "participant", True)
        history, subject = await r.happens("message"), await r.happens("message")
        assert (history["from"], history["body"]) == (f"{room}/Juliet", "Who is there?")
        assert (subject["subject"], subject["body"]) == ("", None)
        await juliet.sees("Romeo")
        r.tell("message", to=str(room), body="Call me but love", id="m1", type="groupchat")
        assert await juliet.hears() == [("Romeo", "Call me but love")]
        back = await r.happens("message")
        assert (back["from"], back["id"], back["body"]) == (f"{room}/Romeo", "m1", "Call me but love")
        await juliet.muc.set_role(room, "Romeo", "none", timeout=TIMEOUT)
        gone = await r.happens("occupant")
        assert (gone["type"], sorted(gone["codes"])) == ("unavailable", ["110", "307"])


@pytest.mark.parametrize("road", ["starttls", "websocket"])
async def test_xmppjs_uploads_and_downloads(server, road):
    """A slot by IQ, then fetch, as a web client does it."""
    if "HTTP upload" in server.lacks:
        pytest.skip(f"{server.name} has no HTTP upload here")
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with (
        session(server, *juliet, plugins=PLUGINS) as j,
        device(server, service(server, road), *romeo) as r,
    ):
        jid = (await r.happens("online"))["jid"]
        r.tell("presence")
        content = picture()
        upload = {"to": f"upload.{server.domain}", "name": "Wherefore?.png", "type": "image/png"}
        r.tell("upload", **upload, content=base64.b64encode(content).decode(), share=str(j.boundjid))
        done = await r.happens("uploaded")
        assert done.get("status") in (200, 201), done
        message = await j.happens("message")
        address = message["oob"]["url"]
        assert (message["from"], address) == (jid, done["get"])
        assert request(address).body == content
        r.tell("download", url=address, headers={"Range": "bytes=8-"})
        got = await r.happens("downloaded")
        assert (got["status"], got["headers"]["content-type"]) == (206, "image/png")
        assert base64.b64decode(got["content"]) == content[8:]
        r.tell("upload", **(upload | {"size": 1 << 50}), content="")
        assert (await r.happens("uploaded"))["condition"] == "not-acceptable"


async def test_a_web_page_of_any_origin_may_upload_and_download(server):
    """What a browser asks before it uploads (CORS, Fetch section 3.2), and what a page may then read of the answer."""
    if "HTTP upload" in server.lacks:
        pytest.skip(f"{server.name} has no HTTP upload here")
    origin = {"Origin": "https://chat.example"}
    content = recognisable(500)
    async with device(server, service(server, "websocket"), *server.new_user()) as d:
        await d.happens("online")
        d.tell("upload", to=f"upload.{server.domain}", name="a.bin", type="", size=500)
        given = await d.happens("uploaded")
    assert "put" in given, given
    open_to = ("*", origin["Origin"])
    asks = origin | {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type,authorization"}
    allowed = request(given["put"], "OPTIONS", headers=asks)
    assert allowed.status in (200, 204)
    assert allowed.headers["Access-Control-Allow-Origin"] in open_to
    assert "PUT" in allowed.headers["Access-Control-Allow-Methods"]
    assert "content-type" in allowed.headers["Access-Control-Allow-Headers"].lower()
    sent = request(given["put"], "PUT", content, origin | given["headers"])
    assert sent.status == 201
    assert sent.headers["Access-Control-Allow-Origin"] in open_to
    for method in ("GET", "HEAD"):
        got = request(given["get"], method, headers=origin)
        assert got.status == 200
        assert got.headers["Access-Control-Allow-Origin"] in open_to
        # Else a page that isolates itself could not show the picture.
        assert got.headers["Cross-Origin-Resource-Policy"] in (None, "cross-origin")
    asks = origin | {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    allowed = request(given["get"], "OPTIONS", headers=asks)
    assert allowed.headers["Access-Control-Allow-Origin"] in open_to
    if "ETag" not in server.lacks:
        assert "range" in allowed.headers["Access-Control-Allow-Headers"].lower()
    refused = request(given["put"], "PUT", content, origin)
    assert refused.status >= 400
    assert refused.headers["Access-Control-Allow-Origin"] in open_to, "a page has to learn why"


async def test_with_tls_files_go_that_way():
    """As a server is run for others: the address begins with https, and its certificate is that of the host."""
    if "media limits" in chosen().lacks:
        pytest.skip(f"{chosen().name} has no https here")
    content = picture()
    with contextlib.closing(configured(https=True)) as server:
        server.start()
        async with device(server, service(server, "starttls"), *server.new_user()) as d:
            await d.happens("online")
            upload = {"to": f"upload.{server.domain}", "name": "a.png", "type": "image/png"}
            d.tell("upload", **upload, content=base64.b64encode(content).decode())
            done = await d.happens("uploaded")
            assert done.get("status") == 201, done
            assert done["put"].startswith(f"https://{server.domain}:") and done["get"].startswith(f"https://{server.domain}:")
            d.tell("download", url=done["get"])
            got = await d.happens("downloaded")
            assert (got["status"], base64.b64decode(got["content"])) == (200, content)
        assert request(done["get"], certificate=server.certificate).body == content
