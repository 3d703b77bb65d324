"""External components (XEP-0114): slixmpp's ComponentXMPP, and the examples of the XEP word by word."""

import asyncio
import hashlib
import re

import pytest
from interop.servers import chosen
from interop.slix import TIMEOUT, session
from slixmpp import ComponentXMPP
from slixmpp.exceptions import IqError

HEADER = (
    "<stream:stream xmlns='{ns}' xmlns:stream='http://etherx.jabber.org/streams' to='{to}'>"
)
ACCEPT = "jabber:component:accept"

ours = pytest.mark.skipif(chosen().name != "posthaste", reason="other servers say other errors here")


class Echo(ComponentXMPP):
    """Says back what it hears, and takes everybody as a contact."""

    def __init__(self, server):
        super().__init__(server.component_domain, server.component_secret, server.host, server.component_port)
        self.is_there, self.is_gone = asyncio.Event(), asyncio.Event()
        self.heard = asyncio.Queue()
        for plugin in ("xep_0030", "xep_0199"):
            self.register_plugin(plugin)
        self.add_event_handler("session_start", lambda _: self.is_there.set())
        self.add_event_handler("disconnected", lambda _: self.is_gone.set())
        self.add_event_handler("message", self.answer)
        self.plugin["xep_0030"].add_identity(category="client", itype="bot", name="Echo")

    def answer(self, message):
        self.heard.put_nowait(message)
        if message["type"] in ("chat", "normal") and message["body"]:
            message.reply(message["body"]).send()

    async def __aenter__(self):
        self.connect()
        await asyncio.wait_for(self.is_there.wait(), TIMEOUT)
        return self

    async def __aexit__(self, *_):
        await self.disconnect(wait=2)


class Wire:
    """A component's bare socket."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server, to=None, ns=ACCEPT):
        wire = cls(*await asyncio.open_connection(server.host, server.component_port))
        wire.send(HEADER.format(ns=ns, to=to or server.component_domain))
        return wire

    def send(self, text):
        self.writer.write(text.encode())

    async def until(self, end):
        text = await asyncio.wait_for(self.reader.readuntil(end.encode()), TIMEOUT)
        return text.decode()

    async def rest(self):
        """What comes to the end of the connection."""
        text = await asyncio.wait_for(self.reader.read(), TIMEOUT)
        self.writer.close()
        return text.decode()

    async def shake_hands(self, secret):
        header = await self.until(">") if not hasattr(self, "header") else self.header
        while "id=" not in header:
            header += await self.until(">")
        identity = re.search(r"id=['\"]([^'\"]+)", header)[1]
        self.send(f"<handshake>{hashlib.sha1((identity + secret).encode()).hexdigest()}</handshake>")
        return header

    @classmethod
    async def accepted(cls, server):
        wire = await cls.open(server)
        await wire.shake_hands(server.component_secret)
        await wire.until("<handshake/>")
        return wire


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


async def test_an_echo_bot_answers_and_is_discovered(server, romeo):
    async with Echo(server) as echo, session(server, *romeo) as r:
        listed = await r.plugin["xep_0030"].get_items(server.domain)
        assert echo.boundjid.bare in {str(item[0]) for item in listed["disco_items"]["items"]}
        info = await r.plugin["xep_0030"].get_info(echo.boundjid.bare)
        assert ("client", "bot") in {(i[0], i[1]) for i in info["disco_info"]["identities"]}
        r.send_message(mto=f"anyone@{echo.boundjid.bare}/there", mbody="hello <&> \u00e9", mtype="chat")
        assert await r.bodies(1) == ["hello <&> \u00e9"]
        heard = await echo.heard.get()
        assert (heard["from"], heard["to"].full) == (r.boundjid, f"anyone@{echo.boundjid.bare}/there")


async def test_a_component_makes_contacts_of_users(server, romeo):
    async with Echo(server) as echo, session(server, *romeo) as r:
        asked = asyncio.get_running_loop().create_future()
        echo.add_event_handler("presence_subscribe", asked.set_result)
        echo.auto_authorize = None
        r.send_presence_subscription(pto=echo.boundjid.bare, ptype="subscribe")
        assert (await asyncio.wait_for(asked, TIMEOUT))["from"].bare == r.boundjid.bare
        echo.send_presence(pto=r.boundjid.bare, ptype="subscribed")
        await r.happens("presence_subscribed")
        echo.send_presence(pto=r.boundjid.bare, pstatus="ready")
        while (presence := await r.happens("presence_available"))["from"].bare != echo.boundjid.bare:
            pass
        assert presence["status"] == "ready"


@ours
async def test_who_writes_to_a_component_that_is_away_is_told_so(server, romeo):
    async with session(server, *romeo) as r:
        r.send_message(mto=server.component_domain, mbody="anybody?", mtype="chat")
        error = await r.happens("message_error")
        assert (error["error"]["condition"], error["error"]["type"]) == ("service-unavailable", "wait")
        with pytest.raises(IqError):
            await r.plugin["xep_0030"].get_info(server.component_domain)
        async with Echo(server):
            r.send_message(mto=server.component_domain, mbody="and now?", mtype="chat")
            assert await r.bodies(1) == ["and now?"]


async def test_the_handshake_is_as_the_xep_shows_it(server):
    wire = await Wire.open(server)
    header = await wire.shake_hands(server.component_secret)
    assert f"xmlns='{ACCEPT}'" in header.replace('"', "'")
    assert f"from='{server.component_domain}'" in header.replace('"', "'")
    await wire.until("<handshake/>")
    wire.send("</stream:stream>")
    assert (await wire.rest()).endswith("</stream:stream>")


@ours
@pytest.mark.parametrize(
    "to, ns, condition",
    [
        ("nobody.localhost", ACCEPT, "host-unknown"),
        ("localhost", ACCEPT, "host-unknown"),
        (None, "jabber:client", "invalid-namespace"),
    ],
)
async def test_a_header_of_something_else_is_refused(server, to, ns, condition):
    wire = await Wire.open(server, to, ns)
    said = await wire.rest()
    assert f"<{condition} " in said and said.count("<stream:stream") == 1
    assert said.endswith("</stream:stream>")


async def test_a_wrong_secret_lets_nobody_in(server):
    wire = await Wire.open(server)
    await wire.shake_hands("not the secret")
    assert "<not-authorized " in await wire.rest()


@ours
async def test_a_domain_has_one_component_at_a_time(server):
    first = await Wire.accepted(server)
    second = await Wire.open(server)
    assert "<conflict " in await second.rest()
    first.send("</stream:stream>")
    await first.rest()
    again = await Wire.accepted(server)
    again.send("</stream:stream>")
    await again.rest()


@ours
@pytest.mark.parametrize(
    "stanza, condition",
    [
        ("<message from='romeo@localhost' to='juliet@localhost'><body>I am Romeo</body></message>", "invalid-from"),
        ("<message from='a@second.bot.localhost' to='juliet@localhost'/>", "invalid-from"),
        ("<message to='juliet@localhost'/>", "improper-addressing"),
        ("<message from='bot.localhost'/>", "improper-addressing"),
        ("<poem/>", "unsupported-stanza-type"),
        ("<message from='bot.localhost' to='juliet@localhost'></iq>", "not-well-formed"),
    ],
)
async def test_a_component_speaks_for_its_own_domain_only(server, stanza, condition):
    wire = await Wire.accepted(server)
    wire.send(stanza)
    said = await wire.rest()
    assert f"<{condition} " in said, said


@ours
async def test_components_speak_with_each_other(server):
    first = await Wire.accepted(server)
    second = await Wire.open(server, f"second.{server.component_domain}")
    await second.shake_hands("another secret")
    await second.until("<handshake/>")
    second.send(
        f"<message xmlns='{ACCEPT}' from='x@second.bot.localhost' to='bot.localhost' type='chat'><body>hi</body></message>"
    )
    heard = await first.until("</message>")
    assert "<body>hi</body>" in heard and "jabber:client" not in heard
    for wire in (first, second):
        wire.send("</stream:stream>")
        await wire.rest()
