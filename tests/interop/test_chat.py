"""Messages between slixmpp clients: online, offline, receipts, markers, states, carbons, blocking."""

import asyncio

import pytest
from interop.slix import make_contacts, session
from slixmpp.exceptions import IqError, XMPPError


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


@pytest.fixture
def juliet(server):
    return server.new_user("juliet")


async def test_two_users_chat_both_ways(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        r.send_message(mto=j.boundjid.bare, mbody="But soft!", mtype="chat")
        first = await j.happens("message")
        assert (first["body"], first["from"]) == ("But soft!", r.boundjid)
        j.send_message(mto=first["from"], mbody="Ay me!", mtype="chat")
        second = await r.happens("message")
        assert (second["body"], second["from"], second["to"]) == ("Ay me!", j.boundjid, r.boundjid)


async def test_every_letter_of_every_script_arrives(server, romeo, juliet):
    text = "<>&'\" 密码 🎉 \u200f עברית ½\nline two\ttab"
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        r.send_message(mto=j.boundjid.bare, mbody=text, mtype="chat")
        assert (await j.happens("message"))["body"] == text


async def test_a_thousand_messages_keep_their_order(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        for number in range(1000):
            r.send_message(mto=j.boundjid.bare, mbody=str(number), mtype="chat")
        async with asyncio.timeout(60):
            assert await j.bodies(1000) == [str(n) for n in range(1000)]


async def test_offline_messages_wait_in_order_with_a_stamp_and_an_id(server, romeo, juliet):
    async with session(server, *romeo) as r:
        for number in range(20):
            r.send_message(mto=f"{juliet[0]}@{server.domain}", mbody=f"m{number}", mtype="chat")
        await r.settle()
        sender = r.boundjid
    async with session(server, *juliet) as j:
        waited = [await j.happens("message") for _ in range(20)]
        assert [m["body"] for m in waited] == [f"m{n}" for n in range(20)]
        for message in waited:
            assert message["from"] == sender
            assert message["delay"]["stamp"] is not None
            assert message["stanza_id"]["by"] == j.boundjid.bare
        ids = [m["stanza_id"]["id"] for m in waited]
        assert len(set(ids)) == 20
    async with session(server, *juliet) as j:
        await j.settle()
        assert j.happened("message") == 0, "delivered once is delivered"


async def test_a_receipt_comes_back(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        message = r.make_message(mto=j.boundjid.bare, mbody="Seen this?", mtype="chat")
        message["request_receipt"] = True
        message.send()
        asked = await j.happens("message")
        j.plugin["xep_0184"].ack(asked)
        receipt = await r.happens("receipt_received")
        assert receipt["receipt"] == message["id"]


async def test_receipts_and_markers_wait_for_whoever_is_offline(server, romeo, juliet):
    async with session(server, *romeo) as r:
        message = r.make_message(mto=f"{juliet[0]}@{server.domain}", mbody="Read me", mtype="chat")
        message["request_receipt"] = True
        message["markable"] = True
        message.send()
        await r.settle()
    async with session(server, *juliet) as j:
        read = await j.happens("message")
        j.plugin["xep_0184"].ack(read)
        j.plugin["xep_0333"].send_marker(read["from"].bare, read["id"], "displayed", mtype="chat")
        await j.settle()
    async with session(server, *romeo) as r:
        if server.name == "prosody":
            pytest.skip("prosody keeps receipts only in the archive")
        assert (await r.happens("receipt_received"))["receipt"] == message["id"]
        assert (await r.happens("marker_displayed"))["displayed"]["id"] == message["id"]


async def test_typing_reaches_whoever_is_online_and_waits_for_nobody(server, romeo, juliet):
    if server.name == "prosody":
        pytest.skip("prosody keeps chat states for later")
    async with session(server, *romeo) as r:
        absent = f"{juliet[0]}@{server.domain}"
        typing = r.make_message(mto=absent, mtype="chat")
        typing["chat_state"] = "composing"
        typing.send()
        await r.settle()
        async with session(server, *juliet) as j:
            await j.settle()
            assert j.happened("chatstate") == 0
            again = r.make_message(mto=absent, mtype="chat")
            again["chat_state"] = "composing"
            again.send()
            assert (await j.happens("chatstate"))["chat_state"] == "composing"


async def test_carbons_keep_two_devices_in_step(server, romeo, juliet):
    async with (
        session(server, *romeo) as r,
        session(server, *juliet, resource="phone") as phone,
        session(server, *juliet, resource="laptop") as laptop,
    ):
        await laptop.plugin["xep_0280"].enable()
        r.send_message(mto=phone.boundjid, mbody="To the phone", mtype="chat")
        assert (await phone.happens("message"))["body"] == "To the phone"
        copy = await laptop.happens("carbon_received")
        assert copy["carbon_received"]["body"] == "To the phone"
        phone.send_message(mto=r.boundjid, mbody="From the phone", mtype="chat")
        copy = await laptop.happens("carbon_sent")
        assert copy["carbon_sent"]["body"] == "From the phone"
        assert copy["from"].bare == laptop.boundjid.bare


async def test_a_blocked_contact_is_not_heard(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        await make_contacts(r, j)
        await j.plugin["xep_0191"].block(r.boundjid.bare)
        assert (await r.happens("presence_unavailable"))["from"].bare == j.boundjid.bare
        r.send_message(mto=j.boundjid.bare, mbody="Can you hear me?", mtype="chat")
        error = await r.happens("message_error")
        assert error["error"]["condition"] == "service-unavailable"
        await j.settle()
        assert j.happened("message") == 0
        assert r.boundjid.bare in {str(jid) for jid in await j.plugin["xep_0191"].get_blocked_jids()}
        await j.plugin["xep_0191"].unblock(r.boundjid.bare)
        r.send_message(mto=j.boundjid.bare, mbody="And now?", mtype="chat")
        assert await j.bodies(1) == ["And now?"]


async def test_a_message_to_nobody_comes_back(server, romeo):
    async with session(server, *romeo) as r:
        r.send_message(mto=f"no-such-user@{server.domain}", mbody="Hello?", mtype="chat")
        error = await r.happens("message_error")
        assert error["error"]["condition"] == "service-unavailable"


async def test_a_query_to_nobody_comes_back(server, romeo):
    async with session(server, *romeo) as r:
        with pytest.raises(IqError) as failure:
            await r.plugin["xep_0092"].get_version(f"no-such-user@{server.domain}/x")
        assert failure.value.condition == "service-unavailable"


async def test_users_query_each_other(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        await make_contacts(r, j)
        answer = await r.plugin["xep_0092"].get_version(j.boundjid)
        assert answer["software_version"]["name"] == "Slixmpp"
        try:
            await r.plugin["xep_0199"].send_ping(j.boundjid)
        except XMPPError as error:
            pytest.fail(f"the ping came back: {error}")
