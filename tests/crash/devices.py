"""The devices of the crash test: senders and receivers that remember everything.

Each keeps its session through lost connections as XEP-0198 asks of a client: it resumes where it
can, and says again what was not acknowledged. What they remember is judged in verdict.py.
"""

import asyncio
from collections import deque
from xml.sax.saxutils import quoteattr

import wire
from wire import CLIENT, Stream, StreamEnded, split

SM = "urn:xmpp:sm:3"
STANZA_ID = "{urn:xmpp:sid:0}stanza-id"
ERROR = f"{{{CLIENT}}}error"
STANZAS = {f"{{{CLIENT}}}{name}" for name in ("message", "presence", "iq")}

# A sender asks for an acknowledgement after so many messages, and stops when so many are unacknowledged.
ASK_EVERY = 10
WINDOW = 100
# A connection that says nothing for so long is taken for dead.
SILENCE = 20.0
TRY_AGAIN_AFTER = 0.05

LOST = (StreamEnded, ConnectionError, OSError, asyncio.TimeoutError, wire.ssl.SSLError)


class Message:
    """One message as its sender knows it."""

    def __init__(self, sender, number, recipient, with_origin_id):
        self.sender, self.number, self.recipient = sender, number, recipient
        self.id = f"{sender}-{number}"
        self.with_origin_id = with_origin_id
        # How often it was sent in a way after which the server may hold it twice.
        self.transmissions = 0
        self.acknowledged = False
        self.refused = False

    def xml(self):
        origin = f"<origin-id xmlns='urn:xmpp:sid:0' id={quoteattr(self.id)}/>" if self.with_origin_id else ""
        return (
            f"<message to={quoteattr(self.recipient)} id={quoteattr(self.id)} type='chat'>"
            f"<body>{self.id}</body>{origin}</message>"
        )


class Device:
    """A session that outlives its connections."""

    def __init__(self, server, user, password, resource):
        self.server, self.user, self.password, self.resource = server, user, password, resource
        self.stream = None
        self.session_id = None
        self.handled = 0
        self.resumed = 0
        self.not_resumed = 0

    @property
    def bare_jid(self):
        return f"{self.user}@{self.server.domain}"

    async def connect(self):
        """Be connected, however long the server is away."""
        while True:
            try:
                await self._connect_once()
                return
            except LOST:
                self.hang_up()
                await asyncio.sleep(TRY_AGAIN_AFTER)

    async def _connect_once(self):
        stream = await Stream.connect(self.server.host, self.server.port, self.server.domain)
        self.stream = stream
        await stream.open()
        await stream.authenticate(self.user, self.password)
        if self.session_id and await self._resume():
            return
        await stream.bind(self.resource)
        stream.send(f"<enable xmlns='{SM}' resume='true'/>")
        enabled = await stream.next(SILENCE)
        assert enabled.tag == f"{{{SM}}}enabled", wire.show(enabled)
        self.session_id = enabled.get("id")
        self.handled = 0
        self.begin_session()

    async def _resume(self):
        self.stream.send(f"<resume xmlns='{SM}' previd={quoteattr(self.session_id)} h='{self.handled}'/>")
        answer = await self.stream.next(SILENCE)
        if answer.get("h") is not None:
            self.acknowledged(int(answer.get("h")))
        if answer.tag == f"{{{SM}}}resumed":
            self.resumed += 1
            self.continue_session()
            return True
        self.not_resumed += 1
        self.session_id = None
        return False

    async def read(self):
        """Deal with elements until the connection is lost."""
        while True:
            element = await self.stream.next(SILENCE)
            if element.tag in STANZAS:
                self.handled = (self.handled + 1) % 2**32
                self.take(element)
            elif element.tag == f"{{{SM}}}r":
                self.stream.send(f"<a xmlns='{SM}' h='{self.handled}'/>")
            elif element.tag == f"{{{SM}}}a":
                self.acknowledged(int(element.get("h")))

    def hang_up(self):
        """Without a word; the session may be resumed."""
        if self.stream:
            self.stream.abort()
            self.stream = None

    async def leave(self):
        """Politely: the session ends."""
        if self.stream:
            self.stream.send(f"<a xmlns='{SM}' h='{self.handled}'/>")
            await self.stream.close()
        self.stream = self.session_id = None

    def begin_session(self):
        """A session of no past has begun."""

    def continue_session(self):
        """The session goes on."""

    def take(self, stanza):
        """A stanza came."""

    def acknowledged(self, h):
        """The server has taken `h` stanzas."""


class Sender(Device):
    """Sends numbered messages to random recipients, as fast as it is acknowledged."""

    message = Message

    def __init__(self, server, user, password, recipients, random, pause, with_origin_id):
        super().__init__(server, user, password, "sender")
        self.recipients, self.random, self.pause = recipients, random, pause
        self.with_origin_id = with_origin_id
        self.messages = []
        self.by_id = {}
        self.stopping = False
        # Sent in this session and not acknowledged, oldest first; `counted` is what was.
        self.pending = deque()
        self.counted = 0
        self.crashes_seen = server.crashes
        self.room = asyncio.Event()

    def begin_session(self):
        self.counted = 0
        self._say_again(may_repeat=True)

    def continue_session(self):
        # A server that lived on knows what it had taken: it must not take it twice.
        self._say_again(may_repeat=self.server.crashes != self.crashes_seen)

    def _say_again(self, may_repeat):
        self.crashes_seen = self.server.crashes
        for message in self.pending:
            message.transmissions += may_repeat
            self.stream.send(message.xml())
        self.stream.send(f"<r xmlns='{SM}'/>")

    def acknowledged(self, h):
        while self.counted != h and self.pending:
            self.pending.popleft().acknowledged = True
            self.counted = (self.counted + 1) % 2**32
        self.room.set()

    def take(self, stanza):
        if split(stanza.tag)[1] == "message" and stanza.get("type") == "error":
            self.by_id[stanza.get("id")].refused = True

    async def run(self):
        """Send until told to stop, then until everything is acknowledged."""
        while not (self.stopping and not self.pending):
            await self.connect()
            reading = asyncio.ensure_future(self.read())
            writing = asyncio.ensure_future(self._write())
            await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
            for task in (reading, writing):
                task.cancel()
            for outcome in await asyncio.gather(reading, writing, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, LOST):
                    raise outcome
            if self.pending or not self.stopping:
                self.hang_up()
        await self.leave()

    async def _write(self):
        while not self.stopping:
            for _ in range(ASK_EVERY):
                message = self.message(
                    self.user, len(self.messages), self.random.choice(self.recipients), self.with_origin_id
                )
                message.transmissions = 1
                self.messages.append(message)
                self.by_id[message.id] = message
                self.pending.append(message)
                self.stream.send(message.xml())
            self.stream.send(f"<r xmlns='{SM}'/>")
            await self.stream.writer.drain()
            await self._wait_for_room(WINDOW)
            await asyncio.sleep(self.pause)
        await self._wait_for_room(1)

    async def _wait_for_room(self, below):
        while len(self.pending) >= below:
            self.room.clear()
            await self.room.wait()


class Receiver(Device):
    """Comes and goes, and remembers each message that reached it."""

    def __init__(self, server, user, password, random, hours):
        super().__init__(server, user, password, "receiver")
        self.random = random
        # "always" online, in "turns", or only at the "end".
        self.hours = hours
        self.received = []
        self.stopping = False
        self.progress = asyncio.Event()

    def begin_session(self):
        self.stream.send("<presence/>")

    def take(self, stanza):
        if split(stanza.tag)[1] == "message" and stanza.find(f"{{{CLIENT}}}body") is not None:
            number = stanza.find(STANZA_ID)
            self.received.append((stanza.get("id"), None if number is None else number.get("id")))
            self.progress.set()

    async def run(self):
        """Be online as its hours say until cancelled; with `stopping`, all the time."""
        while True:
            if self.hours == "end" and not self.stopping:
                await asyncio.sleep(TRY_AGAIN_AFTER)
                continue
            await self.connect()
            turn = None
            if self.hours == "turns" and not self.stopping:
                turn = self.random.uniform(0.1, 2.0)
            try:
                async with asyncio.timeout(turn):
                    await self.read()
            except TimeoutError:
                await self._go_away()
            except LOST:
                self.hang_up()

    async def _go_away(self):
        manner = self.random.choice(["lost", "lost", "polite"])
        if manner == "polite":
            try:
                await self.leave()
            except LOST:
                self.hang_up()
        else:
            self.hang_up()
        await asyncio.sleep(self.random.uniform(0, 1.0))
