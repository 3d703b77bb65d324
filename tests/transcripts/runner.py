"""Plays a transcript ("Romeo sends … Juliet receives …") against a running server.

README.md beside this file describes the format. A transcript is parsed into statements first, so
that a typing error is found before anything is sent; then each statement runs in turn, and what
no statement expected is a failure at the end.
"""

import asyncio
import base64
import re
import secrets
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import wire
from wire import CLIENT, STREAM, ComponentStream, Stream, StreamEnded, show, split

SM = "urn:xmpp:sm:3"
STANZA_ID = "{urn:xmpp:sid:0}stanza-id"
OCCUPANT_ID = "{urn:xmpp:occupant-id:0}occupant-id"
ERROR_TEXT = "{urn:ietf:params:xml:ns:xmpp-stanzas}text"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
MUC = "http://jabber.org/protocol/muc"
# What the room answers when it has dealt with all that was sent to it before.
ROOM_QUESTION = "<query xmlns='http://jabber.org/protocol/disco#info'/>"


class Mismatch(AssertionError):
    """The server did something else than the transcript says."""


@dataclass
class Statement:
    line: int
    words: str
    block: str = ""


@dataclass
class Transcript:
    """One `##` section of a file, with the clients its head declares."""

    path: Path
    title: str
    line: int
    clients: dict
    skip: dict = field(default_factory=dict)
    statements: list = field(default_factory=list)

    @property
    def name(self):
        return f"{self.path.parent.name}/{self.path.stem}: {self.title}"


# --- reading a file -------------------------------------------------------------------------------

CLIENT_LINE = re.compile(r"\s+([A-Z]\w*)\s+([a-z]\w*)/(\S+?)(?:\s+\((no account|administrator|component)\))?$")


def read(path):
    """The transcripts of one file."""
    clients, found, statement = {}, [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("## "):
            found.append(Transcript(path, line[3:].strip(), number, clients))
            statement = None
        elif line.startswith("#") or line == "Clients:":
            statement = None
        elif not found:
            if declared := CLIENT_LINE.match(line):
                name, account, resource, special = declared.groups()
                clients[name] = (account, resource, special)
            elif line.strip():
                raise SyntaxError(f"{path}:{number}: not a client: {line}")
        elif line.startswith("Skip on "):
            which, reason = line.removeprefix("Skip on ").split(":", 1)
            found[-1].skip[which.strip()] = reason.strip()
        elif line[:1].isspace() and line.strip():
            if statement is None:
                raise SyntaxError(f"{path}:{number}: a block without a statement")
            statement.block += line + "\n"
        elif line.strip():
            statement = Statement(number, line.strip().rstrip(":"))
            if handler(statement.words) is None:
                raise SyntaxError(f"{path}:{number}: unknown statement: {line}")
            found[-1].statements.append(statement)
    return found


# --- comparing ------------------------------------------------------------------------------------


def fragment(text):
    """The elements of an expectation, in the client namespace."""
    wrapped = f"<stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAM}'>{text}</stream:stream>"
    return list(ET.fromstring(wrapped))


class Comparison:
    """Does an element look as expected? Captures go to `names` only when the whole of it matches."""

    def __init__(self, names, own_addresses):
        self.names, self.own_addresses = names, own_addresses

    def top(self, expected, actual):
        """A stanza; addresses that the expectation leaves out must then be the client's own."""
        captured = dict(self.names)
        for stanza in (expected, actual):
            if stanza.tag == f"{{{CLIENT}}}message" and stanza.get("type") == "normal":
                del stanza.attrib["type"]  # RFC 6121 §5.2.2: the default
        if "from" not in actual.attrib and expected.get("from") in self.own_addresses:
            actual.set("from", expected.get("from"))  # RFC 6120 §8.1.2.1: no address means the own account
        for key in ("to", "from"):
            if key not in expected.attrib and actual.get(key, "") not in self.own_addresses:
                return f"unexpected {key}={actual.get(key)!r}"
        optional = {"to", "from", XML_LANG}
        if expected.tag == f"{{{CLIENT}}}presence":
            optional.add("id")  # RFC 6121 §4: it tracks nothing but errors
        problem = self._element(expected, actual, captured, optional)
        if problem is None:
            self.names.update(captured)
        return problem

    def _element(self, expected, actual, captured, optional):
        if expected.tag != actual.tag:
            return f"<{split(expected.tag)[1]}> expected, got <{split(actual.tag)[1]}> ({actual.tag})"
        for key, value in expected.attrib.items():
            if value != "?" and not self._value(value, actual.get(key), captured):
                return f"{key}={actual.get(key)!r}, expected {self._filled(value, captured)!r}"
        if extra := set(actual.attrib) - set(expected.attrib) - optional:
            return f"unexpected attributes {sorted(extra)} on <{split(actual.tag)[1]}>"
        return self._content(expected, actual, captured)

    def _content(self, expected, actual, captured):
        text = (expected.text or "") + "".join(child.tail or "" for child in expected)
        anything_else = "..." in text
        text = text.replace("...", "").strip()
        if (text or not anything_else) and not self._value(text, (actual.text or "").strip(), captured):
            return f"text {actual.text!r} in <{split(actual.tag)[1]}>, expected {text!r}"
        left = list(actual)
        if actual.get("type") == "error":  # RFC 6120 §8.3.1: what was sent may be sent back, or not
            left = [child for child in actual if child.tag == f"{{{CLIENT}}}error"]
        for child in expected:
            left_problem = None
            for candidate in left:
                attempt = dict(captured)
                left_problem = self._element(child, candidate, attempt, {XML_LANG})
                if left_problem is None:
                    captured.update(attempt)
                    left.remove(candidate)
                    break
            else:
                return left_problem or f"no <{split(child.tag)[1]}> in <{split(actual.tag)[1]}>"
        ignored = {STANZA_ID, OCCUPANT_ID, ERROR_TEXT}
        unexpected = [] if anything_else else [c for c in left if c.tag not in ignored]
        return f"unexpected {show(unexpected[0])}" if unexpected else None

    def _filled(self, value, captured):
        return re.sub(r"\{(\w+)\}", lambda m: captured.get(m[1], m[0]), value)

    def _value(self, expected, actual, captured):
        if actual is None:
            return False
        if expected == "*":
            return actual != ""
        pattern, names = "", []
        for literal, name in re.findall(r"([^{]+|\{(?!\?\w+\}))|\{\?(\w+)\}", self._filled(expected, captured)):
            if literal:
                pattern += re.escape(literal)
            elif name in captured:
                pattern += re.escape(captured[name])
            else:
                pattern += "(.+)"
                names.append(name)
        matched = re.fullmatch(pattern, actual, re.S)
        if matched:
            captured.update(zip(names, matched.groups()))
        return matched is not None


# --- playing --------------------------------------------------------------------------------------

STATEMENTS = []


def statement(pattern):
    """Registers a method of Play for the lines that look like `pattern`; N is a client's name."""
    names = r"([A-Z]\w*(?:(?:, | and )[A-Z]\w*)*)"
    compiled = re.compile("^" + pattern.replace("NN", names).replace("N", r"([A-Z]\w*)", 1) + "$")

    def register(method):
        STATEMENTS.append((compiled, method))
        return method

    return register


def handler(words):
    """(method, arguments) of the statement, or None."""
    for pattern, method in STATEMENTS:
        if matched := pattern.match(words):
            return method, matched.groups()
    return None


def each(names):
    return re.split(r", | and ", names)


class Play:
    """One transcript being played: its accounts, its connections, what it has captured."""

    def __init__(self, transcript, server):
        self.transcript, self.server = transcript, server
        self.streams, self.bound, self.sent = {}, set(), set()
        self.dialogue = []
        self.names = {
            "domain": server.domain,
            "other_domain": server.other_domain,
            "service": f"conference.{server.domain}",
            "room": f"coven-{secrets.token_hex(4)}@conference.{server.domain}",
            "order": "{urn:xmpp:channel-search:0:order}",
            "other_room": f"heath-{secrets.token_hex(4)}@conference.{server.domain}",
        }
        # Who has been seen to enter a room, and the rooms that have been spoken of.
        self.occupants, self.rooms = set(), set()
        for client, (account, resource, special) in transcript.clients.items():
            if account not in self.names:
                self._make_account(account, special)
            address = self.names[account]
            self.names[client] = address if special == "component" else f"{address}/{resource}"

    def _make_account(self, account, special):
        if special == "component":
            self.names[account] = self.server.component_domain
            return
        user, password = f"{account}-{secrets.token_hex(4)}", f"pw-{secrets.token_hex(4)}"
        if special == "administrator":
            user, password = self.server.administrator()
        elif special is None:
            self.server.add_user(user, password)
        self.names |= {
            account: f"{user}@{self.server.domain}",
            f"{account}.local": user,
            f"{account}.password": password,
            f"{account}.plain": base64.b64encode(f"\0{user}\0{password}".encode()).decode(),
        }

    async def run(self):
        where = self.transcript
        try:
            for each_statement in where.statements:
                self.line = each_statement.line
                method, arguments = handler(each_statement.words)
                await method(self, *arguments, *([each_statement.block] if each_statement.block else []))
            self.line = "end"
            await self._expect_quiet()
        except (Mismatch, StreamEnded, asyncio.TimeoutError, wire.AuthFailed, AssertionError) as problem:
            said = "\n".join(self.dialogue[-12:])
            kind = "nothing came in time" if isinstance(problem, asyncio.TimeoutError) else problem
            raise Mismatch(f"{where.path}:{self.line}: {kind}\n\nso far:\n{said}") from None
        finally:
            for stream in self.streams.values():
                stream.abort()

    async def _expect_quiet(self):
        """Nobody was sent anything that the transcript does not tell of."""
        for name in list(self.streams):
            if name in self.bound:
                await self.receives_nothing(name)

    # helpers

    def _fill(self, text):
        """Puts in `{name}` and `{text*count}`."""
        def one(found):
            if repeated := re.fullmatch(r"(.+)\*(\d+)", found[1], re.S):
                return repeated[1] * int(repeated[2])
            if found[1] not in self.names:
                raise Mismatch(f"{{{found[1]}}} is not known here")
            if found[1] in ("room", "other_room"):
                self.rooms.add(self.names[found[1]])
            return self.names[found[1]]

        return re.sub(r"\{(?!\?)([^{}]+)\}", one, text)

    def _account(self, client):
        account, resource, _ = self.transcript.clients[client]
        return self.names[f"{account}.local"], self.names[f"{account}.password"], resource

    async def _open(self, client, tls=True, direct=False):
        port = self.server.tls_port if direct else self.server.port
        stream = await Stream.connect(self.server.host, port, self.server.domain, direct_tls=direct)
        self.streams[client] = stream
        self.bound.discard(client)
        await stream.open()
        if tls and not direct:
            await stream.starttls()
        return stream

    async def _take(self, client, wanted_tags=()):
        """The next element for `client`; acknowledgement requests are passed over unless wanted."""
        while True:
            element = await self.streams[client].next()
            if element.tag == f"{{{SM}}}r" and element.tag not in wanted_tags:
                continue
            self.dialogue.append(f"  {client} got: {show(element)}")
            return element

    def _own(self, client):
        """Addresses that need no mention because they are the client itself or its server."""
        bare = self.names[client].split("/")[0]
        return {"", bare, self.names[client], self.server.domain}

    # statements about connections

    @statement("NN authenticates?")
    async def authenticates(self, names):
        for client in each(names):
            stream = await self._open(client)
            user, password, _ = self._account(client)
            await stream.authenticate(user, password)

    @statement("NN connects?")
    async def connects(self, names):
        for client in each(names):
            await self.authenticates(client)
            _, _, resource = self._account(client)
            self.names[client] = await self.streams[client].bind(resource)
            self.bound.add(client)

    @statement("NN (?:comes|come) online")
    async def come_online(self, names):
        for client in each(names):
            if client not in self.bound:
                await self.connects(client)
            self.streams[client].send("<presence/>")
            await self.streams[client].settle()
        await self.ignore(names)

    @statement("NN asks? for (?:the|their) rosters?")
    async def ask_for_roster(self, names):
        """They become what RFC 6121 §2.2 calls interested resources."""
        for client in each(names):
            if client not in self.bound:
                await self.connects(client)
            await self.streams[client].ask("<query xmlns='jabber:iq:roster'/>")

    @statement("N is bound as (.+)")
    async def is_bound(self, client, jid):
        """What the client has sent itself has bound it (XEP-0386)."""
        self.names[client] = self._fill(jid)
        self.bound.add(client)

    @statement("NN opens? a stream")
    async def opens(self, names):
        for client in each(names):
            await self._open(client)

    @statement("N opens a stream without TLS")
    async def opens_plainly(self, client):
        await self._open(client, tls=False)

    @statement("N opens a stream by direct TLS")
    async def opens_directly(self, client):
        await self._open(client, direct=True)

    @statement("N opens a connection")
    async def opens_connection(self, client):
        self.streams[client] = await Stream.connect(self.server.host, self.server.port, self.server.domain)
        self.bound.discard(client)

    @statement("N is offered")
    async def is_offered(self, client, block):
        """Elements that stand somewhere in the stream features received last."""
        features = self.streams[client].features
        for wanted in fragment(self._fill_known(block)):
            comparison = Comparison(self.names, self._own(client))
            if not any(comparison.top(wanted, f) is None for f in features.iter(wanted.tag)):
                raise Mismatch(f"{client} is not offered {show(wanted)}, but {show(features)}")

    @statement("N is not offered")
    async def is_not_offered(self, client, block):
        for unwanted in fragment(self._fill_known(block)):
            if self.streams[client].features.find(unwanted.tag) is not None:
                raise Mismatch(f"{client} is offered {show(unwanted)}")

    @statement("N opens a component's stream(?: to (\\S+))?")
    async def opens_component(self, client, domain):
        """As XEP-0114 says, as far as the server's header."""
        stream = await ComponentStream.connect_to(self.server, domain or self.server.component_domain)
        self.streams[client] = stream
        self.bound.discard(client)
        await stream.open()

    @statement("N says (the|a wrong) secret")
    async def says_secret(self, client, which):
        self.streams[client].handshake(self.server.component_secret if which == "the" else "open sesame")
        self.bound.add(client)

    @statement("N restarts the stream")
    async def restarts(self, client):
        await self.streams[client].open()

    @statement("N disconnects")
    async def disconnects(self, client):
        self.bound.discard(client)
        self.sent.discard(client)
        await self.streams.pop(client).close()

    @statement("N loses the connection")
    async def loses(self, client):
        self.bound.discard(client)
        self.sent.discard(client)
        self.streams.pop(client).abort()

    @statement("NN are contacts")
    async def are_contacts(self, names):
        """Mutual subscription of every pair, made with connections of their own."""
        clients = each(names)
        own = [await wire.log_in(self.server, *self._account(c)[:2], "making-friends") for c in clients]
        jids = [self.names[c].split("/")[0] for c in clients]
        try:
            for kind in ("subscribe", "subscribed"):
                for stream, jid in zip(own, jids):
                    for other in jids:
                        if other != jid:
                            stream.send(f"<presence to='{other}' type='{kind}'/>")
                for _ in range(2):  # the second round finds what the first made cross homes
                    for stream in own:
                        await stream.settle()
        finally:
            for stream in own:
                await stream.close()

    # statements about stanzas

    # statements about rooms (XEP-0045)

    @statement("N creates {(room|other_room)} as (\\S+)")
    async def creates_room(self, client, room, nick, block=""):
        """The room is made and configured: a line of the block is a field and its value."""
        self._enter(client, room, nick)
        await self._entered(client, room, "201")
        fields = [("FORM_TYPE", f"{MUC}#roomconfig")]
        for line in block.splitlines() if block.strip() else []:
            var, value = line.strip().split(" = ", 1)
            fields.append((f"muc#roomconfig_{var}" if "#" not in var else var, self._fill(value)))
        form = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in fields)
        answer = await self.streams[client].ask(
            f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'>{form}</x></query>",
            to=self.names[room], kind="set",
        )
        if answer.get("type") != "result":
            raise Mismatch(f"{client} may not configure the room: {show(answer)}")
        await self.ignore(client)

    @statement("N enters {(room|other_room)} as (\\S+)")
    async def enters_room(self, client, room, nick, block=""):
        """Without its history; the block stands in the `<x/>` of the presence. Nobody looks at what comes of it."""
        self._enter(client, room, nick, self._fill(block).strip())
        await self._entered(client, room, "110")
        await self.ignore(", ".join(sorted(self.occupants & self.bound)))

    def _enter(self, client, room, nick, how=""):
        self.rooms.add(self.names[room])
        self.streams[client].send(
            f"<presence to='{self.names[room]}/{nick}'><x xmlns='{MUC}'><history maxchars='0'/>{how}</x></presence>"
        )

    async def _entered(self, client, room, code):
        """Wait for the presence that says so."""
        while True:
            element = await self._take(client)
            from_room = element.get("from", "").split("/")[0] == self.names[room]
            if from_room and element.get("type") == "error":
                raise Mismatch(f"{client} may not enter: {show(element)}")
            codes = [s.get("code") for s in element.iter(f"{{{MUC}#user}}status")]
            if from_room and "110" in codes:
                break
        if code not in codes:
            raise Mismatch(f"{client} entered without the status {code}: {show(element)}")
        self.occupants.add(client)

    @statement("N sends")
    async def sends(self, client, block):
        text = self._fill(block).strip()
        self.dialogue.append(f"  {client} sent: {text if len(text) < 2000 else text[:2000] + '…'}")
        self.streams[client].send(text)
        self.sent.add(client)

    @statement("N receives")
    async def receives(self, client, block):
        """The elements of the block, in any order."""
        wanted = fragment(self._fill_known(block))
        while wanted:
            actual = await self._take(client, {w.tag for w in wanted})
            problems = []
            for candidate in wanted:
                problem = Comparison(self.names, self._own(client)).top(candidate, actual)
                if problem is None:
                    wanted.remove(candidate)
                    break
                problems.append(problem)
            else:
                closest = problems[0] if len(problems) == 1 else "; or ".join(problems)
                raise Mismatch(f"{client} received {show(actual)}\n  but: {closest}")

    @statement("N receives without (\\S+)")
    async def receives_without(self, client, text, block):
        """The elements of the block, and in none of what comes stands the text."""
        taken = len(self.dialogue)
        await self.receives(client, block)
        if any(self._fill(text) in line for line in self.dialogue[taken:]):
            raise Mismatch(f"{client} should not have been told {text}")

    @statement("N receives in order")
    async def receives_in_order(self, client, block):
        for wanted in fragment(self._fill_known(block)):
            await self.receives(client, ET.tostring(wanted, encoding="unicode"))

    def _fill_known(self, text):
        """`{name}` of accounts, clients and captures; `{?name}` is left to the comparison."""
        return re.sub(r"\{([\w.]+)\}", lambda m: self.names.get(m[1], m[0]), text)

    @statement("NN receives? nothing")
    async def receives_nothing(self, names):
        await self._settle_senders()
        for client in each(names):
            stream = self.streams[client]
            await self._settle(client)
            unread = [e for e in stream.ready if e is not None and e.tag != f"{{{SM}}}r"]
            stream.ready.clear()
            if unread:
                raise Mismatch(f"{client} should have received nothing, but got {show(unread[0])}")

    @statement("NN ignores? the rest")
    async def ignore(self, names):
        """Whatever has been sent to them so far does not matter."""
        await self._settle_senders()
        for client in each(names):
            await self._settle(client)
            self.streams[client].ready.clear()

    async def _settle_senders(self):
        for client in sorted(self.sent & self.bound):
            await self._settle(client)
        self.sent.clear()

    async def _settle(self, client):
        """What the client has sent has been dealt with, by the rooms too where anybody is in one."""
        for room in sorted(self.rooms):
            await self.streams[client].ask(ROOM_QUESTION, to=room)
        await self.streams[client].settle()

    @statement("N receives stream error (\\S+)")
    async def receives_stream_error(self, client, condition):
        try:
            while True:
                extra = await self._take(client)
                if extra.tag != f"{{{SM}}}a":  # a last acknowledgement may come with the end
                    raise Mismatch(f"stream error {condition} expected, {client} got {show(extra)}")
        except StreamEnded as end:
            if end.error is None:
                raise Mismatch(f"the stream ended without the error {condition}") from None
            said = [split(child.tag)[1] for child in end.error]
            if condition not in said:
                raise Mismatch(f"stream error {condition} expected, got {show(end.error)}") from None
        self.bound.discard(client)
        self.sent.discard(client)

    @statement("N's stream ends")
    async def stream_ends(self, client):
        try:
            extra = await self._take(client)
        except StreamEnded:
            self.bound.discard(client)
            self.sent.discard(client)
            return
        raise Mismatch(f"the end of the stream expected, {client} got {show(extra)}")
