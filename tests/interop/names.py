"""A name server for a handful of names, so that servers of different make find each other on loopback.

It answers SRV and A from a table and says of everything else that there is no such name. UDP only: its answers are short.
"""

import contextlib
import socket
import struct
import threading

A, SRV, IN = 1, 33, 1
NO_SUCH_NAME = 3
# How long an answer is good for: a test changes the table, and whoever asked before has to ask again.
SECONDS_KNOWN = 1


class NameServer:
    """Answers until closed; `table` may change meanwhile."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.table = {}
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        self.socket.close()

    def serves(self, domain, starttls=None, direct_tls=None):
        """Make `domain` known: the ports of its server for each kind of TLS."""
        # ejabberd asks us for SRV and the system for the target's address.
        host = "localhost"
        self.table[host, A] = [socket.inet_aton("127.0.0.1")]
        for service, port in (("_xmpp-server._tcp", starttls), ("_xmpps-server._tcp", direct_tls)):
            if port:
                self.table[f"{service}.{domain}", SRV] = [struct.pack("!HHH", 10, 5, port) + _encoded(host)]

    @contextlib.contextmanager
    def without(self, domain):
        """`domain` is not known meanwhile."""
        gone = {key: self.table.pop(key) for key in list(self.table) if key[0].endswith(f".{domain}")}
        yield
        self.table |= gone

    def _serve(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
                self.socket.sendto(self._answer(query), peer)
            except OSError:
                return

    def _answer(self, query):
        name, end = _decoded(query, 12)
        kind, _ = struct.unpack_from("!HH", query, end)
        records = self.table.get((name, kind), [])
        known = any(other == name for other, _ in self.table)
        status = 0 if records or known else NO_SUCH_NAME
        header = query[:2] + struct.pack("!HHHHH", 0x8180 | status, 1, len(records), 0, 0)
        answers = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, IN, SECONDS_KNOWN, len(data)) + data for data in records
        )
        return header + query[12 : end + 4] + answers


def _encoded(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def _decoded(message, at):
    parts = []
    while message[at]:
        length = message[at]
        parts.append(message[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(parts).lower(), at + 1
