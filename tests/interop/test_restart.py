"""A graceful restart of the server: who comes back goes on, and who does not is seen to go."""

import asyncio

import pytest
from interop.servers import chosen
from interop.slix import make_contacts, session

SM = ["xep_0198"]
RESUMABLE_SECONDS = 3


class ShortMemory(chosen()):
    """The server under test, which does not wait long for a session to be resumed."""

    def configure(self):
        super().configure()
        text = self.config.read_text()
        self.config.write_text(f'{text}\n[sessions]\nresume_timeout = "{RESUMABLE_SECONDS}s"\n')

    async def restart(self):
        await asyncio.to_thread(self.stop)
        await asyncio.to_thread(self.start)


@pytest.fixture
def server():
    if chosen().name != "posthaste":
        pytest.skip("a setting of ours")
    running = ShortMemory()
    try:
        yield running.start()
    finally:
        running.close()


async def test_who_does_not_come_back_after_a_restart_is_seen_to_go(server):
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo, plugins=SM) as r, session(server, *juliet, plugins=SM) as j:
        await make_contacts(r, j)
        await r.happens("sm_enabled")
        await j.happens("sm_enabled")
        for client in (r, j):
            client.end_session_on_disconnect = False
        await server.restart()
        await j.happens("disconnected")
        gone = r.boundjid.full
        j.connect(server.host, server.port)
        # Nothing is lost: the session is the same one.
        await j.happens("session_resumed")
        # And nobody has touched Romeo's account since the start.
        while True:
            presence = await j.happens("presence_unavailable")
            if presence["from"] == gone:
                break


async def test_who_comes_back_after_a_restart_has_missed_nothing(server):
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo, plugins=SM) as r, session(server, *juliet, plugins=SM) as j:
        await r.happens("sm_enabled")
        await j.happens("sm_enabled")
        for client in (r, j):
            client.end_session_on_disconnect = False
        await server.restart()
        for client in (r, j):
            await client.happens("disconnected")
            client.connect(server.host, server.port)
            await client.happens("session_resumed")
        r.send_message(mto=j.boundjid, mbody="Still here?", mtype="chat")
        assert await j.bodies(1) == ["Still here?"]
        await j.settle()
        assert j.happened("presence_unavailable") == 0
