"""TLS by pyOpenSSL, which can tell what a stream is bound to by tls-exporter (RFC 9266).

Python's own `ssl` cannot. Only what `wire.Stream` needs of a reader and a writer is here.
"""

import asyncio

from OpenSSL import SSL
from wire import Stream


class BoundTls:
    """A TLS client connection over asyncio streams; both reader and writer."""

    def __init__(self, reader, writer, domain):
        self.reader, self.plain = reader, writer
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        self.connection = SSL.Connection(context, None)
        self.connection.set_tlsext_host_name(domain.encode())
        self.connection.set_connect_state()
        self.transport = writer.transport

    async def handshake(self):
        while True:
            try:
                self.connection.do_handshake()
                self._flush()
                return
            except SSL.WantReadError:
                self._flush()
                self.connection.bio_write(await self.reader.read(65536))

    def _flush(self):
        try:
            while True:
                self.plain.write(self.connection.bio_read(65536))
        except SSL.WantReadError:
            pass

    def write(self, data):
        self.connection.sendall(data)
        self._flush()

    async def read(self, size):
        while True:
            try:
                return self.connection.recv(size)
            except SSL.WantReadError:
                self._flush()
                data = await self.reader.read(65536)
                if not data:
                    return b""
                self.connection.bio_write(data)
            except SSL.ZeroReturnError:
                return b""

    def exporter(self):
        """The tls-exporter channel binding of RFC 9266 §4.2."""
        return self.connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")


async def secure_stream(server):
    """A stream after STARTTLS, and what it is bound to."""
    stream = await Stream.connect(server.host, server.port, server.domain)
    await stream.open()
    stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    await stream.next()
    tls = BoundTls(stream.reader, stream.writer, server.domain)
    await asyncio.wait_for(tls.handshake(), 15)
    stream.reader = stream.writer = tls
    await stream.open()
    return stream, tls.exporter()
