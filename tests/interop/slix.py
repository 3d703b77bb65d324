"""slixmpp, held so that a test reads as a story: log in, do something, wait for an event."""

import asyncio
import contextlib
from collections import defaultdict

from slixmpp import ClientXMPP

TIMEOUT = 15
PLUGINS = [
    "xep_0012", "xep_0030", "xep_0049", "xep_0054", "xep_0077", "xep_0085", "xep_0092", "xep_0115",
    "xep_0184", "xep_0191", "xep_0199", "xep_0202", "xep_0203", "xep_0280", "xep_0333", "xep_0334",
    "xep_0352", "xep_0359",
]
EVENTS = [
    "session_start", "session_resumed", "failed_auth", "failed_all_auth", "disconnected", "message",
    "message_error", "presence_subscribe", "presence_subscribed", "presence_unsubscribe",
    "presence_unsubscribed", "presence_available", "presence_away",
    "presence_unavailable", "roster_update",
    "receipt_received", "marker_displayed", "marker_received", "chatstate", "carbon_sent",
    "carbon_received", "blocked", "unblocked", "omemo_initialized", "sm_enabled", "stanza_acked", "register",
    "groupchat_invite", "groupchat_direct_invite", "moderated_message", "message_xform",
]


class Client(ClientXMPP):
    """A ClientXMPP whose events wait in line until a test asks for them."""

    def __init__(self, server, user, password, resource=None, mechanism=None, plugins=(), domain=None):
        domain = domain or server.domain
        jid = f"{user}@{domain}" + (f"/{resource}" if resource else "")
        super().__init__(jid, password, sasl_mech=mechanism)
        self.under_test = server
        self.enable_direct_tls = False
        self.ca_certs = server.certificate
        self.auto_reconnect = False
        self.roster.auto_authorize = None
        self.roster.auto_subscribe = False
        for plugin in [*PLUGINS, *plugins]:
            self.register_plugin(plugin)
        # A request is answered by the test where it is asked for, not behind its back.
        self.plugin["xep_0184"].auto_ack = False
        self.lines = defaultdict(asyncio.Queue)
        for event in EVENTS:
            self.add_event_handler(event, self.lines[event].put_nowait)

    async def happens(self, event, timeout=TIMEOUT):
        """The next `event`, whether it has come already or is yet to come."""
        async with asyncio.timeout(timeout):
            return await self.lines[event].get()

    def happened(self, event):
        """How many `event`s have come that nobody asked for."""
        return self.lines[event].qsize()

    async def log_in(self, port=None):
        """Connect and wait for the session, or raise PermissionError when no mechanism worked."""
        self.connect(self.under_test.host, port or self.under_test.port)
        waiting = [asyncio.ensure_future(self.happens(e)) for e in ("session_start", "failed_all_auth")]
        done, late = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in late:
            each.cancel()
        if waiting[1] in done:
            raise PermissionError("no SASL mechanism worked")
        done.pop().result()
        return self

    async def come_online(self):
        """Roster and initial presence, as a client does at its start."""
        self.requested_roster = asyncio.get_running_loop().create_future()
        self.get_roster(callback=self.requested_roster.set_result)
        await self.requested_roster
        self.send_presence()
        await self.settle()
        return self

    async def settle(self):
        """A ping round trip: the server has dealt with everything sent before."""
        await self.plugin["xep_0199"].send_ping(self.under_test.domain, timeout=TIMEOUT)

    async def bodies(self, count):
        """The bodies of the next `count` messages that have one."""
        found = []
        while len(found) < count:
            message = await self.happens("message")
            if message["body"]:
                found.append(message["body"])
        return found

    async def lose_connection(self):
        """Cut the TCP connection without a word, once what was to be sent is on its way.

        slixmpp forgets what is still in its queue when the line goes (it counts stanzas only when
        they are written), so that part of the story is not the server's.
        """
        await self.waiting_queue.join()
        self.end_session_on_disconnect = False
        self.transport.abort()
        await self.happens("disconnected")

    async def leave(self):
        if self.transport:
            await self.disconnect(wait=2)


@contextlib.asynccontextmanager
async def session(server, user, password, online=True, **options):
    """A logged-in client, online unless told otherwise, that leaves at the end."""
    client = Client(server, user, password, **options)
    try:
        await client.log_in()
        if online:
            await client.come_online()
        yield client
    finally:
        await client.leave()


async def make_contacts(first, second):
    """Mutual subscription of two connected clients, each step awaited."""
    for asker, asked in ((first, second), (second, first)):
        asker.send_presence_subscription(pto=asked.boundjid.bare, ptype="subscribe")
        await asked.happens("presence_subscribe")
        asked.send_presence_subscription(pto=asker.boundjid.bare, ptype="subscribed")
        await asker.happens("presence_subscribed")
    await first.settle()
    await second.settle()
