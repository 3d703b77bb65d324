"""Devices with @xmpp/client (SASL2, Bind 2, FAST), seen and put out by slixmpp; push with a slixmpp user as app server."""

import asyncio
import contextlib
import uuid
from xml.etree import ElementTree as ET

import pytest
from interop.servers import chosen
from interop.slix import session
from interop.test_xmppjs import device, service
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

PUBSUB = "http://jabber.org/protocol/pubsub"
PUSH = "urn:xmpp:push:0"


@pytest.fixture(autouse=True)
def only_with_bind2(server):
    if "FAST" in server.lacks:
        pytest.skip(f"{server.name} has no SASL2")


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


@pytest.fixture
def juliet(server):
    return server.new_user("juliet")


@contextlib.asynccontextmanager
async def named(server, login, agent, **options):
    async with device(server, service(server, "starttls"), *login, userAgent=agent, **options) as d:
        await d.happens("online")
        # No query: @xmpp/client 0.14 does not count their answers, and so acknowledges too little.
        d.tell("presence")
        yield d


async def leaves(d):
    d.tell("stop")
    await d.process.wait()


async def test_each_device_gets_what_came_while_another_was_there(server, romeo, juliet):
    phone, laptop = str(uuid.uuid4()), str(uuid.uuid4())
    async with session(server, *romeo) as r:
        async with named(server, juliet, phone) as first:
            await leaves(first)
        async with named(server, juliet, laptop) as there:
            for number in range(40):
                r.send_message(mto=f"{juliet[0]}@{server.domain}", mbody=f"m{number}", mtype="chat")
            assert await there.bodies(40) == [f"m{n}" for n in range(40)]
            async with named(server, juliet, phone) as back:
                assert await back.bodies(40) == [f"m{n}" for n in range(40)]
                r.send_message(mto=f"{juliet[0]}@{server.domain}", mbody="live", mtype="chat")
                assert await back.bodies(1) == ["live"], "nothing comes twice"
                assert await there.bodies(1) == ["live"]


async def test_a_plain_client_beside_devices_gets_what_nobody_took(server, romeo, juliet):
    async with session(server, *romeo) as r:
        async with named(server, juliet, str(uuid.uuid4())) as there:
            r.send_message(mto=f"{juliet[0]}@{server.domain}", mbody="taken", mtype="chat")
            assert await there.bodies(1) == ["taken"]
            # Behind its acknowledgement: what it has not confirmed is for whoever comes next.
            there.tell("message", to=str(r.boundjid), body="got it", id="got1")
            assert await r.bodies(1) == ["got it"]
            await leaves(there)
        r.send_message(mto=f"{juliet[0]}@{server.domain}", mbody="waiting", mtype="chat")
        await r.settle()
        async with session(server, *juliet) as plain:
            assert await plain.bodies(1) == ["waiting"]


async def test_slixmpp_sees_a_device_and_puts_it_out(server, juliet):
    agent = str(uuid.uuid4())
    async with session(server, *juliet, plugins=["xep_0494"]) as owner:
        async with named(server, juliet, agent) as phone:
            token = (await phone.happens("token"))["token"]
            clients = {c["id"]: c for c in await owner.plugin["xep_0494"].get_clients()}
            assert clients[agent]["connected"] is True
            assert clients[agent]["user_agent"]["software"] == "device.mjs"
            with pytest.raises(IqError) as refused:
                await owner.plugin["xep_0494"].revoke(agent)
            error = refused.value.iq["error"]
            assert error["condition"] == "service-unavailable"
            assert error.xml.find("{urn:xmpp:cam:0}password-reset-required") is not None
            told = await phone.happens("error")
            assert told["condition"] == "not-authorized"
        left = [c["id"] for c in await owner.plugin["xep_0494"].get_clients()]
        assert agent not in left
        road = service(server, "starttls")
        async with device(server, road, juliet[0], "no password", userAgent=agent, token=token) as thief:
            assert (await thief.happens("failed", "online"))["event"] == "failed"


@contextlib.asynccontextmanager
async def app_server(server, login=None):
    """A user that takes publish requests: its full JID and the requests in their order."""
    async with session(server, *(login or server.new_user("push")), resource="service") as app:
        requests = asyncio.Queue()

        def take(iq):
            iq.reply().send()
            requests.put_nowait(iq)

        wanted = MatchXPath(f"{{jabber:client}}iq/{{{PUBSUB}}}pubsub")
        app.register_handler(Callback("publish", wanted, take))
        yield str(app.boundjid), requests


async def enable(client, push, node):
    iq = client.make_iq_set()
    iq.append(ET.Element(f"{{{PUSH}}}enable", {"jid": push, "node": node}))
    await iq.send()


async def test_a_push_service_is_told_when_the_phone_is_gone(server, romeo, juliet):
    bare = f"{juliet[0]}@{server.domain}"
    async with app_server(server) as (push, requests), session(server, *romeo) as r:
        async with session(server, *juliet) as phone:
            await enable(phone, push, "yxs32uqsflafdk3iuqo")
            r.send_message(mto=bare, mbody="you are there", mtype="chat")
            await phone.bodies(1)
        await r.settle()
        assert requests.empty()
        for number in range(20):
            r.send_message(mto=bare, mbody=f"m{number}", mtype="chat")
        async with asyncio.timeout(15):
            first, last = await requests.get(), await requests.get()
        for iq in (first, last):
            assert str(iq["from"]) == bare
            publish = iq.xml.find(f"{{{PUBSUB}}}pubsub/{{{PUBSUB}}}publish")
            assert publish.get("node") == "yxs32uqsflafdk3iuqo"
            notification = publish.find(f"{{{PUBSUB}}}item/{{{PUSH}}}notification")
            assert notification is not None and len(notification) == 0, "nothing is told"
        await r.settle()
        assert requests.empty(), "a burst makes two"


@pytest.fixture
def own_server():
    """A server that may be restarted."""
    running = chosen()()
    try:
        yield running.start()
    finally:
        running.close()


async def test_a_registration_outlives_a_restart_of_the_server(own_server):
    server = own_server
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    login = server.new_user("push")
    async with session(server, *juliet) as phone:
        await enable(phone, f"{login[0]}@{server.domain}/service", "n")
    assert server.stop() == 0
    server.start()
    async with app_server(server, login) as (_, requests), session(server, *romeo) as r:
        r.send_message(mto=f"{juliet[0]}@{server.domain}", mbody="wake up", mtype="chat")
        async with asyncio.timeout(15):
            assert str((await requests.get())["from"]) == f"{juliet[0]}@{server.domain}"
