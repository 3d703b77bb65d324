"""Rooms in the crash test: talkers who remember everything, and a keeper who changes what a room is.

Talkers say numbered things in a room, as the senders do to accounts, and remember what they heard.
The keeper owns the room and changes its name and its members, one change at a time. When all is
over a reader reads the room's archive and asks what the room is; roomverdict.py judges.
"""

import asyncio
from xml.sax.saxutils import quoteattr

import wire
from crash.devices import ERROR, LOST, SILENCE, STANZA_ID, Device, Message, Sender
from wire import CLIENT, split

MUC = "http://jabber.org/protocol/muc"
ADMIN = f"{MUC}#admin"
OWNER = f"{MUC}#owner"
USER = f"{{{MUC}#user}}"
FORM = "jabber:x:data"
MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"
NOT_HERE = "{urn:ietf:params:xml:ns:xmpp-stanzas}not-acceptable"

KEEPER_PAUSE = 0.05
KNOCK_AGAIN_AFTER = 0.2
# What waits for the disk may wait as long as the disk is full.
ANSWERED_WITHIN = SILENCE
# Who are made and unmade members: addresses, not accounts.
GUESTS = [f"guest{n}@elsewhere.example" for n in range(8)]
ARCHIVE_PAGE = 250


class Spoken(Message):
    """A message to all in a room."""

    def xml(self):
        origin = f"<origin-id xmlns='urn:xmpp:sid:0' id={quoteattr(self.id)}/>" if self.with_origin_id else ""
        return (
            f"<message to={quoteattr(self.recipient)} id={quoteattr(self.id)} type='groupchat'>"
            f"<body>{self.id}</body>{origin}</message>"
        )


class Entrance:
    """The presence that enters the room; it is counted and repeated like a message."""

    def __init__(self, room, nick):
        self.address = f"{room}/{nick}"
        self.transmissions = 0
        self.acknowledged = False

    def xml(self):
        return (
            f"<presence to={quoteattr(self.address)}><x xmlns='{MUC}'><history maxchars='0'/></x></presence>"
        )


class Talker(Sender):
    """Is in one room, and says things there."""

    message = Spoken

    def __init__(self, server, user, password, room, opened, random, pause, with_origin_id):
        super().__init__(server, user, password, [room], random, pause, with_origin_id)
        self.room_jid, self.opened = room, opened
        # What the others said and it said itself, as it heard it: (id of the message, number in the archive).
        self.heard = []
        # Told that it was not in a room that it had entered and not left.
        self.cast_out = []
        # How often there was no room to enter any more.
        self.found_gone = 0
        self.is_in = False

    def begin_session(self):
        self._enter_first()
        super().begin_session()

    def continue_session(self):
        # After a crash nobody is in a room; the session may have been kept all the same.
        if self.server.crashes != self.crashes_seen:
            self._enter_first()
        super().continue_session()

    def _enter_first(self):
        self.is_in = False
        messages = [it for it in self.pending if not isinstance(it, Entrance)]
        self.pending.clear()
        self.pending.extend([Entrance(self.room_jid, self.user), *messages])

    def take(self, stanza):
        name = split(stanza.tag)[1]
        if name == "presence":
            self._take_presence(stanza)
        elif name == "message" and stanza.get("type") == "groupchat" and stanza.find(f"{{{CLIENT}}}body") is not None:
            number = stanza.find(STANZA_ID)
            self.heard.append((stanza.get("id"), None if number is None else number.get("id")))
        elif name == "message" and stanza.get("type") == "error" and stanza.get("id") in self.by_id:
            self.by_id[stanza.get("id")].refused = True
            error = stanza.find(ERROR)
            if self.is_in and error is not None and error.find(NOT_HERE) is not None:
                self.cast_out.append(stanza.get("id"))

    def _take_presence(self, stanza):
        if stanza.get("from") != f"{self.room_jid}/{self.user}":
            return
        codes = {status.get("code") for status in stanza.iter(f"{USER}status")}
        if "201" in codes:
            self.found_gone += 1
        self.is_in = stanza.get("type") is None
        if not self.is_in:
            asyncio.get_running_loop().call_later(KNOCK_AGAIN_AFTER, self._knock, self.stream)

    def _knock(self, stream):
        """Try again to enter, as a client does that was put out or not let in."""
        if stream is not self.stream or self.is_in or stream.writer.transport.is_closing():
            return
        again = Entrance(self.room_jid, self.user)
        self.pending.append(again)
        stream.send(again.xml())

    async def run(self):
        await self.opened.wait()
        await super().run()


class Change:
    """One thing that the keeper asked for: `key` shall be `value`. Was it confirmed, refused, or was no answer heard?"""

    def __init__(self, key, value):
        self.key, self.value = key, value
        self.outcome = "unknown"


class Keeper(Device):
    """Owns a room, and changes its name and its members, one change after another."""

    # As the senders have them: nothing is said again here.
    pending = ()

    def __init__(self, server, user, password, room, random):
        super().__init__(server, user, password, "keeper")
        self.room_jid, self.random = room, random
        self.changes = []
        # The room is there, and others may enter.
        self.opened = asyncio.Event()
        self.stopping = False
        self.asked = 0
        self.answers = {}

    def take(self, stanza):
        if split(stanza.tag)[1] == "iq" and stanza.get("id") in self.answers:
            self.answers.pop(stanza.get("id")).set_result(stanza)

    async def run(self):
        """Change the room until told to stop."""
        while not self.stopping:
            await self.connect()
            work = [asyncio.ensure_future(it) for it in (self.read(), self._change())]
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                task.cancel()
            for outcome in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, LOST):
                    raise outcome
            self.answers.clear()
            self.hang_up()

    async def _change(self):
        if not self.opened.is_set():
            await self._open()
        while not self.stopping:
            if self.random.random() < 0.3:
                await self._make(Change("name", f"name {len(self.changes)}"))
            else:
                guest = self.random.choice(GUESTS)
                await self._make(Change(guest, self.random.choice(["member", "outcast", "none"])))
            await asyncio.sleep(KEEPER_PAUSE)

    async def _open(self):
        self.stream.send(f"<presence to={quoteattr(self.room_jid + '/keeper')}><x xmlns='{MUC}'/></presence>")
        answer = await self._ask(configuration({"persistentroom": "1", "enablelogging": "1"}))
        if answer.get("type") != "result":
            raise AssertionError(f"the room cannot be made: {wire.show(answer)}")
        self.stream.send(
            f"<presence type='unavailable' to={quoteattr(self.room_jid + '/keeper')}/>"
        )
        self.opened.set()

    async def _make(self, change):
        self.changes.append(change)
        if change.key == "name":
            answer = await self._ask(configuration({"roomname": change.value}))
        else:
            answer = await self._ask(
                f"<query xmlns='{ADMIN}'><item jid='{change.key}' affiliation='{change.value}'/></query>"
            )
        change.outcome = "confirmed" if answer.get("type") == "result" else "refused"

    async def _ask(self, payload):
        self.asked += 1
        number = f"change{self.asked}"
        answer = self.answers[number] = asyncio.get_running_loop().create_future()
        self.stream.send(f"<iq type='set' id='{number}' to={quoteattr(self.room_jid)}>{payload}</iq>")
        return await asyncio.wait_for(answer, ANSWERED_WITHIN)


def configuration(options):
    """The form that sets these of a room's options."""
    fields = {"FORM_TYPE": f"{MUC}#roomconfig"} | {f"muc#roomconfig_{name}": value for name, value in options.items()}
    form = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in fields.items())
    return f"<query xmlns='{OWNER}'><x xmlns='{FORM}' type='submit'>{form}</x></query>"


class Found:
    """What a room is when all is over: its archive, oldest first, its name, and who is what to it."""

    def __init__(self, archive, name, affiliations):
        self.archive, self.name, self.affiliations = archive, name, affiliations


async def look_at(server, keeper):
    """Read everything there is of the keeper's room."""
    stream = await wire.log_in(server, keeper.user, keeper.password, "reader")
    try:
        archive = await read_archive(stream, keeper.room_jid)
        info = await stream.ask("<query xmlns='http://jabber.org/protocol/disco#info'/>", to=keeper.room_jid)
        identity = info.find(".//{http://jabber.org/protocol/disco#info}identity")
        affiliations = {}
        for affiliation in ("member", "outcast"):
            question = f"<query xmlns='{ADMIN}'><item affiliation='{affiliation}'/></query>"
            answer = await stream.ask(question, to=keeper.room_jid)
            for item in answer.iter(f"{{{ADMIN}}}item"):
                affiliations[item.get("jid")] = item.get("affiliation")
        return Found(archive, None if identity is None else identity.get("name"), affiliations)
    finally:
        await stream.close()


async def read_archive(stream, room):
    """All messages with a body: (id of the message, number in the archive), page by page."""
    archive, after = [], ""
    while True:
        page = f"<set xmlns='{RSM}'><max>{ARCHIVE_PAGE}</max>{after}</set>"
        fin = await stream.ask(f"<query xmlns='{MAM}'>{page}</query>", to=room, kind="set")
        if fin.get("type") != "result":
            raise AssertionError(f"the archive cannot be read: {wire.show(fin)}")
        results = [it.find(f"{{{MAM}}}result") for it in stream.ready if it is not None]
        stream.ready.clear()
        for result in results:
            message = None if result is None else result.find(f".//{{{CLIENT}}}message")
            if message is not None and message.find(f"{{{CLIENT}}}body") is not None:
                archive.append((message.get("id"), result.get("id")))
        last = fin.findtext(f".//{{{RSM}}}last")
        if fin.find(f"{{{MAM}}}fin").get("complete") == "true" or last is None:
            return archive
        after = f"<after>{last}</after>"
