"""Logging in with slixmpp, by every mechanism it has, and not logging in."""

import ssl

import pytest
import wire
from interop.slix import Client, session


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_user_logs_in(server, mechanism):
    if mechanism in server.lacks:
        pytest.skip(f"{server.name} does not offer {mechanism}")
    user, password = server.new_user()
    async with session(server, user, password, mechanism=mechanism) as client:
        assert client.boundjid.bare == f"{user}@{server.domain}"
        assert client.socket.version() in ("TLSv1.3", "TLSv1.2")


async def test_slixmpp_finds_a_mechanism_by_itself(server):
    user, password = server.new_user()
    async with session(server, user, password) as client:
        assert client.boundjid.resource


async def test_slixmpp_finds_a_mechanism_by_itself_over_tls_1_2(server):
    """It then tries SCRAM-…-PLUS with tls-unique, which a server may refuse but not choke on."""
    user, password = server.new_user()
    client = Client(server, user, password)
    client.ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        await client.log_in()
        assert client.boundjid.bare == f"{user}@{server.domain}"
    finally:
        await client.leave()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"])
async def test_a_login_is_bound_to_the_server_certificate(server, mechanism):
    """slixmpp knows only tls-unique; our own client knows tls-server-end-point (RFC 5929)."""
    if mechanism in server.lacks:
        pytest.skip(f"{server.name} does not offer {mechanism} with tls-server-end-point")
    user, password = server.new_user()
    stream = await wire.log_in(server, user, password, mechanism=mechanism)
    assert stream.jid.startswith(f"{user}@{server.domain}/")
    await stream.close()


async def test_a_login_bound_to_another_certificate_fails(server):
    if "SCRAM-SHA-256-PLUS" in server.lacks:
        pytest.skip(f"{server.name} does not offer it")
    user, password = server.new_user()
    stream = await wire.Stream.connect(server.host, server.port, server.domain)
    await stream.open()
    await stream.starttls()
    stream.server_end_point = lambda: bytes(32)
    with pytest.raises(wire.AuthFailed):
        await stream.authenticate(user, password, "SCRAM-SHA-256-PLUS")
    stream.abort()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"])
async def test_a_wrong_password_is_refused(server, mechanism):
    user, _ = server.new_user()
    client = Client(server, user, "not the password", mechanism=mechanism)
    with pytest.raises(PermissionError):
        await client.log_in()
    failure = await client.happens("failed_auth")
    assert failure["condition"] == "not-authorized"
    await client.leave()


async def test_an_account_that_is_not_there_looks_like_a_wrong_password(server):
    client = Client(server, "nobody-at-all", "whatever", mechanism="SCRAM-SHA-1")
    with pytest.raises(PermissionError):
        await client.log_in()
    failure = await client.happens("failed_auth")
    assert failure["condition"] == "not-authorized"
    await client.leave()


async def test_a_password_may_hold_any_character(server):
    user, password = server.new_user(password="pâss=wörd, ünd 密码 ½")
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        async with session(server, user, password, mechanism=mechanism) as client:
            assert client.boundjid.bare.startswith(user)


async def test_a_user_logs_in_with_a_certificate(server):
    if "EXTERNAL" in server.lacks:
        pytest.skip(f"{server.name} has no EXTERNAL for users")
    user, _ = server.new_user()
    certificate, key = server.authority.issue(f"{user}@{server.domain}")
    client = Client(server, user, None, mechanism="EXTERNAL")
    client.certfile, client.keyfile = str(certificate), str(key)
    try:
        await client.log_in()
        assert client.boundjid.bare == f"{user}@{server.domain}"
    finally:
        await client.leave()


async def test_a_certificate_opens_no_other_account(server):
    if "EXTERNAL" in server.lacks:
        pytest.skip(f"{server.name} has no EXTERNAL for users")
    user, _ = server.new_user()
    other, _ = server.new_user()
    certificate, key = server.authority.issue(f"{user}@{server.domain}")
    context = wire.trusting_context()
    context.load_cert_chain(certificate, key)
    stream = await wire.Stream.connect(server.host, server.port, server.domain)
    await stream.open()
    await stream.starttls(context)
    with pytest.raises(wire.AuthFailed):
        await stream.sasl("EXTERNAL", f"{other}@{server.domain}".encode())
    stream.abort()


async def test_a_user_logs_in_by_direct_tls(server):
    user, password = server.new_user()
    client = Client(server, user, password)
    client.enable_direct_tls, client.enable_starttls = True, False
    try:
        await client.log_in(port=server.tls_port)
        await client.settle()
    finally:
        await client.leave()


async def test_each_virtual_host_has_its_own_users(server):
    server.add_user("twin", "first", server.domain)
    server.add_user("twin", "second", server.other_domain)
    client = Client(server, "twin", "second", domain=server.other_domain)
    await client.log_in()
    assert client.boundjid.bare == f"twin@{server.other_domain}"
    await client.leave()
    stranger = Client(server, "twin", "second", domain=server.domain)
    with pytest.raises(PermissionError):
        await stranger.log_in()
    await stranger.leave()
