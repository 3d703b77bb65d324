"""strophe.js (npm) over BOSH (XEP-0124, XEP-0206), with a slixmpp user at the other end."""

import asyncio
import contextlib
import json
import os
from pathlib import Path

import pytest
from interop.slix import session
from interop.test_xmppjs import Device

SCRIPT = Path(__file__).parent / "xmppjs" / "strophe.mjs"


@pytest.fixture(autouse=True)
def only_with_bosh(server):
    if "bosh" in server.lacks:
        pytest.skip(f"{server.name} has no BOSH here")


@contextlib.asynccontextmanager
async def strophe(server, user, password):
    settings = {
        "service": f"http://{server.host}:{server.http_port}/http-bind",
        "jid": f"{user}@{server.domain}/web",
        "password": password,
    }
    process = await asyncio.create_subprocess_exec(
        "node", str(SCRIPT), json.dumps(settings),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"NODE_NO_WARNINGS": "1"},
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


async def test_strophe_logs_in_and_chats_with_slixmpp(server):
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo) as r, strophe(server, *juliet) as j:
        jid = (await j.happens("connected"))["jid"]
        assert jid == f"{juliet[0]}@{server.domain}/web"
        j.tell("roster")
        assert (await j.happens("roster"))["items"] == []
        j.tell("presence")
        j.tell("ping", to=server.domain)
        await j.happens("pong")
        r.send_message(mto=jid, mbody="Ünïcode <over> any road & 🎉", mtype="chat")
        got = await j.happens("message")
        assert (got["body"], got["from"]) == ("Ünïcode <over> any road & 🎉", str(r.boundjid))
        j.tell("message", to=got["from"], body="and back")
        answer = await r.happens("message")
        assert (answer["body"], str(answer["from"])) == ("and back", jid)


async def test_strophe_gets_what_waited_and_comes_back(server):
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    bare = f"{juliet[0]}@{server.domain}"
    async with session(server, *romeo) as r, strophe(server, *juliet) as j:
        await j.happens("connected")
        j.tell("disconnect")
        await j.happens("disconnected")
        for number in range(30):
            r.send_message(mto=bare, mbody=f"m{number}", mtype="chat")
        await r.settle()
        j.tell("connect")
        await j.happens("connected")
        j.tell("presence")
        assert await j.bodies(30) == [f"m{n}" for n in range(30)]


async def test_strophe_loses_answers_and_nothing_in_them(server):
    """It asks for a lost answer again, and gets the same one."""
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo) as r, strophe(server, *juliet) as j:
        jid = (await j.happens("connected"))["jid"]
        j.tell("presence")
        j.tell("ping", to=server.domain)
        await j.happens("pong")
        for number in range(5):
            j.tell("lose", answers=1)
            r.send_message(mto=jid, mbody=f"m{number}", mtype="chat")
            await j.happens("lost")
            assert await j.bodies(1) == [f"m{number}"]
        j.tell("message", to=str(r.boundjid), body="all there")
        assert (await r.happens("message"))["body"] == "all there"
