"""Tokens and channel binding on a stream of our own making (XEP-0484, RFC 9266).

No client library that can be had here speaks FAST with channel binding or SCRAM over
tls-exporter; the TLS below is OpenSSL's, the server's is not, so the two check each other.
"""

import base64
import hashlib
import hmac
import uuid

import pytest
import wire
from interop.bound_tls import secure_stream

SASL2 = "urn:xmpp:sasl:2"
FAST = "urn:xmpp:fast:0"


@pytest.fixture(autouse=True)
def only_with_fast(server):
    if "FAST" in server.lacks:
        pytest.skip(f"{server.name} has no FAST")


def ht(user, token, binding=b""):
    """The initial message of the HT-* mechanisms, and the server's answer that proves itself."""
    say = lambda who: hmac.new(token.encode(), who + binding, hashlib.sha256).digest()
    return user.encode() + b"\0" + say(b"Initiator"), say(b"Responder")


async def authenticate(stream, mechanism, message, agent, more=""):
    """One SASL2 round trip; the answer, which may be a failure."""
    body = base64.b64encode(message).decode()
    stream.send(
        f"<authenticate xmlns='{SASL2}' mechanism='{mechanism}'><initial-response>{body}</initial-response>"
        f"<user-agent id='{agent}'><software>interop</software></user-agent>{more}"
        f"<bind xmlns='urn:xmpp:bind:0'><tag>interop</tag></bind></authenticate>"
    )
    return await stream.next()


async def plain_stream(server):
    stream = await wire.Stream.connect(server.host, server.port, server.domain)
    await stream.open()
    await stream.starttls()
    return stream


async def new_token(server, user, password, agent, mechanism):
    """Log in by password and take a token for `mechanism` along."""
    stream, _ = await secure_stream(server)
    answer = await authenticate(
        stream, "PLAIN", f"\0{user}\0{password}".encode(), agent,
        more=f"<request-token xmlns='{FAST}' mechanism='{mechanism}'/>",
    )
    stream.abort()
    token = answer.find(f"{{{FAST}}}token")
    assert token is not None, wire.show(answer)
    assert token.get("expiry")
    return token.get("token")


def succeeded(answer):
    return answer.tag == f"{{{SASL2}}}success"


USE = f"<fast xmlns='{FAST}'/>"


@pytest.mark.parametrize("mechanism", ["HT-SHA-256-NONE", "HT-SHA-256-EXPR"])
async def test_a_token_signs_in_and_the_server_proves_that_it_knows_it(server, mechanism):
    user, password = server.new_user()
    agent = uuid.uuid4()
    token = await new_token(server, user, password, agent, mechanism)
    for _ in range(2):
        stream, exporter = await secure_stream(server)
        message, proof = ht(user, token, exporter if mechanism.endswith("EXPR") else b"")
        answer = await authenticate(stream, mechanism, message, agent, USE)
        assert succeeded(answer), wire.show(answer)
        assert base64.b64decode(answer.findtext(f"{{{SASL2}}}additional-data")) == proof
        stream.abort()


async def test_a_token_is_bound_to_the_connection_where_it_says_so(server):
    user, password = server.new_user()
    agent = uuid.uuid4()
    token = await new_token(server, user, password, agent, "HT-SHA-256-EXPR")
    stream, _ = await secure_stream(server)
    message, _ = ht(user, token, bytes(32))
    assert not succeeded(await authenticate(stream, "HT-SHA-256-EXPR", message, agent, USE))
    stream.abort()


async def test_a_token_is_of_one_device_and_one_mechanism(server):
    user, password = server.new_user()
    agent = uuid.uuid4()
    token = await new_token(server, user, password, agent, "HT-SHA-256-NONE")
    for other_agent, mechanism in ((uuid.uuid4(), "HT-SHA-256-NONE"), (agent, "HT-SHA-256-EXPR")):
        stream, exporter = await secure_stream(server)
        message, _ = ht(user, token, exporter if mechanism.endswith("EXPR") else b"")
        assert not succeeded(await authenticate(stream, mechanism, message, other_agent, USE))
        stream.abort()


async def test_a_new_password_ends_every_token(server):
    user, password = server.new_user()
    agent = uuid.uuid4()
    token = await new_token(server, user, password, agent, "HT-SHA-256-NONE")
    stream = await wire.log_in(server, user, password)
    changed = await stream.ask(
        f"<query xmlns='jabber:iq:register'><username>{user}</username><password>new one</password></query>",
        to=server.domain, kind="set",
    )
    assert changed.get("type") == "result"
    await stream.close()
    stream = await plain_stream(server)
    message, _ = ht(user, token)
    assert not succeeded(await authenticate(stream, "HT-SHA-256-NONE", message, agent, USE))
    stream.abort()


async def test_a_token_is_given_back(server):
    user, password = server.new_user()
    agent = uuid.uuid4()
    token = await new_token(server, user, password, agent, "HT-SHA-256-NONE")
    stream = await plain_stream(server)
    message, _ = ht(user, token)
    invalidate = f"<fast xmlns='{FAST}' invalidate='true'/>"
    assert succeeded(await authenticate(stream, "HT-SHA-256-NONE", message, agent, invalidate))
    stream.abort()
    stream = await plain_stream(server)
    assert not succeeded(await authenticate(stream, "HT-SHA-256-NONE", message, agent, USE))
    stream.abort()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"])
async def test_scram_is_bound_to_the_connection(server, mechanism):
    user, password = server.new_user()
    stream, exporter = await secure_stream(server)
    stream.binding = ("tls-exporter", exporter)
    await stream.authenticate(user, password, mechanism)
    assert (await stream.bind()).startswith(f"{user}@")
    stream.abort()
    stream, _ = await secure_stream(server)
    stream.binding = ("tls-exporter", bytes(32))
    with pytest.raises(wire.AuthFailed):
        await stream.authenticate(user, password, mechanism)
    stream.abort()
