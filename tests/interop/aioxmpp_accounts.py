"""Where aioxmpp's end-to-end tests get their clients from: each has an account that nobody used before."""

import itertools
import secrets
import subprocess

import aioxmpp
from aioxmpp.e2etest import provision

HOST = "127.0.0.1"


class FreshAccounts(provision._AutoConfiguredProvisioner):  # noqa: SLF001 - there is no public way to write one
    """Makes an account by `posthaste user add` for each client.

    Configured with `domain`, `port` and `add`, the command that makes an account. The accounts are `aio-0`, `aio-1` and
    so on, so that the server can be told beforehand what they may do.
    """

    def configure(self, section):
        super().configure(section)
        self._domain = aioxmpp.JID.fromstr(section.get("domain"))
        self._port = section.getint("port")
        self._add = section.get("add").split()
        self._tls = provision.configure_tls_config(section)
        self._quirks = provision.configure_quirks(section)
        self._numbers = itertools.count()

    async def _make_client(self, logger):
        jid = self._domain.replace(localpart=f"aio-{next(self._numbers)}")
        password = secrets.token_hex(8)
        subprocess.run([*self._add, str(jid)], input=f"{password}\n", text=True, check=True, capture_output=True)
        return aioxmpp.PresenceManagedClient(
            jid,
            aioxmpp.make_security_layer(password, **self._tls),
            override_peer=[(HOST, self._port, aioxmpp.connector.STARTTLSConnector())],
            logger=logger,
        )
