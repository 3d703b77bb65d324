"""A bare XMPP client over a socket, for tests that must see and say every element themselves.

It knows the stream (RFC 6120 §4), STARTTLS, SASL PLAIN/SCRAM/EXTERNAL and resource binding, and
nothing above: what it is told to send goes out verbatim, what comes in is handed out one
top-level element at a time. The transcripts and the crash test are written on it.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import secrets
import ssl
import xml.etree.ElementTree as ET
from collections import deque
from xml.sax.saxutils import escape, quoteattr

CLIENT = "jabber:client"
COMPONENT = "jabber:component:accept"
STREAM = "http://etherx.jabber.org/streams"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
PING = "urn:xmpp:ping"

TIMEOUT = 15.0
_ids = itertools.count(1)


class StreamEnded(Exception):
    """The server closed the stream or the connection; `error` holds its stream error, if it said one."""

    def __init__(self, error=None):
        super().__init__("the stream ended" + (f" with {show(error)}" if error is not None else ""))
        self.error = error


class AuthFailed(Exception):
    """SASL said no; `condition` is the RFC 6120 §6.5 word."""

    def __init__(self, condition):
        super().__init__(condition)
        self.condition = condition


def show(element):
    """The element as XML with a default namespace where one is enough, for failure messages."""
    return _show(element, CLIENT)


def _show(element, parent_ns):
    ns, name = split(element.tag)
    out = "<" + name
    if ns != parent_ns:
        out += f" xmlns={quoteattr(ns)}"
    for key, value in element.attrib.items():
        out += f" {key.replace('{http://www.w3.org/XML/1998/namespace}', 'xml:')}={quoteattr(value)}"
    inner = escape(element.text or "")
    for child in element:
        inner += _show(child, ns) + escape(child.tail or "")
    return out + (f">{inner}</{name}>" if inner else "/>")


def split(tag):
    """`{ns}name` as (ns, name)."""
    return tuple(tag[1:].split("}", 1)) if tag.startswith("{") else ("", tag)


def trusting_context():
    """TLS without a look at the certificate: the tests' certificates are self-signed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Stream:
    """One connection to a server. Nothing is read unless somebody waits for it."""

    def __init__(self, reader, writer, domain):
        self.reader, self.writer, self.domain = reader, writer, domain
        self.features = None
        self.header = None
        self.jid = None
        # Who is asked whether all has been dealt with, and the `from` of own requests where they need one.
        self.server, self.sender = domain, None
        # What a SCRAM-…-PLUS log-in is bound to: (channel binding type, its bytes).
        self.binding = None
        self._restart_parser()

    @classmethod
    async def connect(cls, host, port, domain, direct_tls=False, context=None):
        """Open the TCP connection (with TLS at once where `direct_tls`); no stream yet."""
        options = {"limit": 1 << 20}
        if direct_tls:
            context = context or trusting_context()
            context.set_alpn_protocols(["xmpp-client"])
            options |= {"ssl": context, "server_hostname": domain}
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, **options), TIMEOUT)
        return cls(reader, writer, domain)

    # --- the stream ---------------------------------------------------------------------------

    def _restart_parser(self):
        self.parser = ET.XMLPullParser(["start", "end"])
        self.root = None
        self.depth = 0
        self.ready = deque()

    def open_header(self):
        """Send the opening tag; what comes back is read as a new stream."""
        self._restart_parser()
        self.send(
            f"<?xml version='1.0'?><stream:stream to='{self.domain}' version='1.0' xml:lang='en' "
            f"xmlns='{CLIENT}' xmlns:stream='{STREAM}'>"
        )

    async def open(self):
        """Open (or restart) the stream and wait for its features."""
        self.open_header()
        self.features = await self.next()
        if self.features.tag != f"{{{STREAM}}}features":
            raise AssertionError(f"features expected, got {show(self.features)}")
        return self.features

    def send(self, xml):
        """Write `xml` verbatim; it leaves without a flush being waited for."""
        if self.writer.transport.is_closing():
            raise StreamEnded()
        self.writer.write(xml.encode() if isinstance(xml, str) else xml)

    def feed(self, data):
        """Bytes from the server: whole top-level elements go to `ready`."""
        self.parser.feed(data)
        try:
            self._take_events()
        except ET.ParseError:
            if not self.ready:
                raise
            # Behind `<success/>` another stream begins, which a server that is stopping opens and ends at once.
            self.ready.append(None)

    def _take_events(self):
        for event, element in self.parser.read_events():
            if event == "start":
                self.depth += 1
                if self.depth == 1:
                    self.root = self.header = element
                continue
            self.depth -= 1
            if self.depth == 1:
                self.root.remove(element)
                element.tail = None
                self.ready.append(element)
            elif self.depth == 0:
                self.ready.append(None)

    async def next(self, timeout=TIMEOUT):
        """The next top-level element. Raises StreamEnded at `</stream>`, a stream error or a closed socket."""
        while not self.ready:
            try:
                data = await asyncio.wait_for(self.reader.read(65536), timeout)
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                raise StreamEnded()
            self.feed(data)
        element = self.ready.popleft()
        if element is None:
            raise StreamEnded()
        if element.tag == f"{{{STREAM}}}error":
            raise StreamEnded(element)
        return element

    async def close(self):
        """End the stream politely and wait until the server has closed its side."""
        self.send("</stream:stream>")
        try:
            while True:
                await self.next(timeout=5)
        except (StreamEnded, asyncio.TimeoutError, ConnectionError):
            pass
        self.abort()

    def abort(self):
        """Cut the connection without a word, as a lost network would."""
        self.writer.transport.abort()

    # --- negotiation --------------------------------------------------------------------------

    async def starttls(self, context=None):
        """RFC 6120 §5, then a new stream."""
        self.send(f"<starttls xmlns='{TLS}'/>")
        answer = await self.next()
        assert answer.tag == f"{{{TLS}}}proceed", show(answer)
        await self.writer.start_tls(context or trusting_context(), server_hostname=self.domain)
        return await self.open()

    def mechanisms(self):
        """The SASL mechanisms offered last."""
        return [m.text for m in self.features.iterfind(f"{{{SASL}}}mechanisms/{{{SASL}}}mechanism")]

    async def authenticate(self, user, password, mechanism=None):
        """Log in with `mechanism` (PLAIN where none is named) and restart the stream."""
        mechanism = mechanism or "PLAIN"
        if mechanism == "PLAIN":
            await self.sasl("PLAIN", f"\0{user}\0{password}".encode())
        else:
            await self.scram(mechanism, user, password)
        return await self.open()

    async def sasl(self, mechanism, initial):
        """One SASL step: `initial` out, (`success`|`challenge`, bytes) back. Raises AuthFailed."""
        body = base64.b64encode(initial).decode() or "="
        self.send(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{body}</auth>")
        return await self._sasl_answer()

    async def _sasl_answer(self):
        answer = await self.next()
        ns, name = split(answer.tag)
        assert ns == SASL, show(answer)
        if name == "failure":
            raise AuthFailed(split(answer[0].tag)[1])
        return name, base64.b64decode(answer.text or "") if answer.text != "=" else b""

    async def scram(self, mechanism, user, password):
        """RFC 5802 for SHA-1/-256/-512; the -PLUS forms bind to `binding`, or tls-server-end-point."""
        hash_name = mechanism.removesuffix("-PLUS").removeprefix("SCRAM-").replace("-", "").lower()
        gs2, binding = "n,,", b""
        if mechanism.endswith("-PLUS"):
            name, binding = self.binding or ("tls-server-end-point", self.server_end_point())
            gs2 = f"p={name},,"
        nonce = secrets.token_hex(12)
        first = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        _, challenge = await self.sasl(mechanism, (gs2 + first).encode())
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        assert fields["r"].startswith(nonce)
        salted = hashlib.pbkdf2_hmac(
            hash_name, password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
        )
        digest = lambda key, text: hmac.new(key, text, hash_name).digest()
        client_key = digest(salted, b"Client Key")
        stored_key = hashlib.new(hash_name, client_key).digest()
        bound = base64.b64encode(gs2.encode() + binding).decode()
        last = f"c={bound},r={fields['r']}"
        signed = f"{first},{challenge.decode()},{last}".encode()
        proof = bytes(a ^ b for a, b in zip(client_key, digest(stored_key, signed)))
        body = base64.b64encode(f"{last},p={base64.b64encode(proof).decode()}".encode()).decode()
        self.send(f"<response xmlns='{SASL}'>{body}</response>")
        name, verdict = await self._sasl_answer()
        if name == "challenge":
            self.send(f"<response xmlns='{SASL}'>=</response>")
            await self._sasl_answer()
        expected = base64.b64encode(digest(digest(salted, b"Server Key"), signed))
        assert verdict == b"v=" + expected, "the server does not know the password"

    def server_end_point(self):
        """RFC 5929 §4.1 for the certificates used here, whose signature hash is SHA-256."""
        certificate = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return hashlib.sha256(certificate).digest()

    async def bind(self, resource=None):
        """RFC 6120 §7; the full JID given is kept in `jid`."""
        wish = f"<resource>{escape(resource)}</resource>" if resource else ""
        answer = await self.ask(f"<bind xmlns='{BIND}'>{wish}</bind>", kind="set")
        self.jid = answer.findtext(f".//{{{BIND}}}jid")
        assert self.jid, show(answer)
        return self.jid

    async def ask(self, payload, to=None, kind="get"):
        """One IQ and its answer; everything that arrives before it stays in line."""
        number = f"ask{next(_ids)}"
        target = f" to={quoteattr(to)}" if to else ""
        target += f" from={quoteattr(self.sender)}" if self.sender else ""
        self.send(f"<iq type='{kind}' id='{number}'{target}>{payload}</iq>")
        waiting = []
        while True:
            element = await self.next()
            if element.tag == f"{{{CLIENT}}}iq" and element.get("id") == number:
                self.ready.extendleft(reversed(waiting))
                return element
            waiting.append(element)

    async def settle(self):
        """A ping round trip: afterwards the server has dealt with all that was sent before."""
        return await self.ask(f"<ping xmlns='{PING}'/>", to=self.server)


class ComponentStream(Stream):
    """The stream of an external component (XEP-0114). What it takes is shown in the client namespace, as everything here is."""

    def __init__(self, reader, writer, domain):
        super().__init__(reader, writer, domain)
        self.sender = domain

    @classmethod
    async def connect_to(cls, server, domain):
        """Open the TCP connection to where `server` takes components; no stream yet."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    reader, writer = await asyncio.open_connection(server.host, server.component_port)
                    break
                except ConnectionRefusedError:  # Prosody takes clients before it takes components.
                    await asyncio.sleep(0.05)
        stream = cls(reader, writer, domain)
        stream.server = server.domain
        return stream

    async def open(self):
        """Open the stream and wait for the header of the answer."""
        self._restart_parser()
        self.send(
            f"<?xml version='1.0'?><stream:stream to={quoteattr(self.domain)} "
            f"xmlns='{COMPONENT}' xmlns:stream='{STREAM}'>"
        )
        while self.root is None:
            data = await asyncio.wait_for(self.reader.read(65536), TIMEOUT)
            if not data:
                raise StreamEnded()
            self.feed(data)

    def handshake(self, secret):
        """Say the secret; the answer is an element like others."""
        proof = hashlib.sha1((self.header.get("id") + secret).encode()).hexdigest()
        self.send(f"<handshake>{proof}</handshake>")

    def _take_events(self):
        before = len(self.ready)
        super()._take_events()
        for element in list(self.ready)[before:]:
            for part in element.iter() if element is not None else ():
                part.tag = part.tag.replace(f"{{{COMPONENT}}}", f"{{{CLIENT}}}")


async def log_in(server, user, password, resource=None, mechanism=None, tls=True, bind=True):
    """A stream that is authenticated and (where `bind`) bound, by the shortest road."""
    stream = await Stream.connect(server.host, server.port, server.domain)
    await stream.open()
    if tls:
        await stream.starttls()
    await stream.authenticate(user, password, mechanism)
    if bind:
        await stream.bind(resource)
    return stream
