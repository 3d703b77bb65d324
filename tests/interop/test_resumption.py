"""Stream management with slixmpp: a cut connection costs nothing (XEP-0198)."""

import pytest
from interop.slix import Client, session

SM = ["xep_0198"]


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


@pytest.fixture
def juliet(server):
    return server.new_user("juliet")


async def resume(client):
    """Connect again; slixmpp resumes by itself where it can."""
    client.connect(client.under_test.host, client.under_test.port)
    await client.happens("session_resumed")


async def test_messages_are_acknowledged(server, romeo, juliet):
    async with session(server, *romeo, plugins=SM) as r, session(server, *juliet):
        await r.happens("sm_enabled")
        r.send_message(mto=f"{juliet[0]}@{server.domain}", mbody="Acknowledge me", mtype="chat")
        await r.settle()
        r.plugin["xep_0198"].request_ack()
        while "Acknowledge me" not in str(await r.happens("stanza_acked")):
            pass


async def test_what_came_while_the_line_was_cut_comes_at_resumption(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet, plugins=SM) as j:
        await j.happens("sm_enabled")
        for number in range(10):
            r.send_message(mto=j.boundjid.bare, mbody=f"before {number}", mtype="chat")
        assert await j.bodies(10) == [f"before {n}" for n in range(10)]
        await j.lose_connection()
        for number in range(10):
            r.send_message(mto=j.boundjid.bare, mbody=f"during {number}", mtype="chat")
        await r.settle()
        before = j.boundjid
        await resume(j)
        for number in range(10):
            r.send_message(mto=j.boundjid.bare, mbody=f"after {number}", mtype="chat")
        expected = [f"{when} {n}" for when in ("during", "after") for n in range(10)]
        assert await j.bodies(20) == expected
        await j.settle()
        assert j.happened("message") == 0
        assert j.boundjid == before


async def test_what_was_sent_into_a_dead_line_arrives_once_and_in_order(server, romeo, juliet):
    async with session(server, *romeo, plugins=SM) as r, session(server, *juliet) as j:
        await r.happens("sm_enabled")
        expected = []
        for round_number in range(5):
            for number in range(20):
                text = f"{round_number}.{number}"
                expected.append(text)
                r.send_message(mto=j.boundjid.bare, mbody=text, mtype="chat")
            await r.lose_connection()
            await resume(r)
        await r.settle()
        await j.settle()
        assert await j.bodies(j.happened("message")) == expected


async def test_both_ends_lose_their_lines_again_and_again(server, romeo, juliet):
    async with (
        session(server, *romeo, plugins=SM) as r,
        session(server, *juliet, plugins=SM) as j,
    ):
        await r.happens("sm_enabled")
        await j.happens("sm_enabled")
        expected = []
        for round_number in range(10):
            for number in range(10):
                expected.append(f"{round_number}.{number}")
                r.send_message(mto=j.boundjid.bare, mbody=expected[-1], mtype="chat")
            loser = (r, j)[round_number % 2]
            await loser.lose_connection()
            await resume(loser)
        await r.settle()
        await j.settle()
        assert await j.bodies(j.happened("message")) == expected


async def test_a_session_nobody_resumes_hands_its_messages_back(server, romeo, juliet):
    """A new log-in of the same resource ends the old session; what it had not taken is not lost."""
    async with session(server, *romeo) as r:
        j = Client(server, *juliet, resource="phone", plugins=SM)
        await j.log_in()
        await j.come_online()
        await j.happens("sm_enabled")
        await j.lose_connection()
        for number in range(10):
            r.send_message(mto=f"{juliet[0]}@{server.domain}", mbody=f"kept {number}", mtype="chat")
        await r.settle()
        async with session(server, *juliet, resource="phone") as again:
            assert await again.bodies(10) == [f"kept {n}" for n in range(10)]
            await again.settle()
            assert again.happened("message") == 0
