"""The server under test: ours by default, Prosody to see that a test itself speaks true XMPP.

`SERVER=prosody pytest` swaps it. Both run in the foreground as our child, on free loopback
ports, with everything they write in one temporary folder.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import certificates

# A debug build on a busy machine may wait long for its disk.
READY_WITHIN = 90.0
STOPPED_WITHIN = 30.0


def free_ports(count):
    """Loopback ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Server:
    """What the tests know of a server, whichever it is."""

    name = ""
    # What this server does not have of what the tests look for.
    lacks = frozenset()
    domain = "localhost"
    other_domain = "second.localhost"
    # An external component (XEP-0114) may stand for this.
    component_domain = "bot.localhost"
    component_secret = "a component's secret"
    host = "127.0.0.1"
    # Localparts of those who administer `domain` from a client; who needs the accounts makes them.
    administrators = ["admin"]

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-test-"))
        self.port, self.tls_port, self.http_port, self.extra_port, self.component_port = free_ports(5)
        self.certificate, self.key = certificates.self_signed(
            self.folder / "certs", [self.domain, self.other_domain]
        )
        self.authority = certificates.Authority(self.folder / "users")
        # The service of chat rooms.
        self.rooms = f"conference.{self.domain}"
        self.environment = {}
        self.process = None
        self.has_administrator = False
        self.configure()

    @property
    def websocket(self):
        """The RFC 7395 address."""
        return f"ws://{self.host}:{self.http_port}{self.websocket_path}"

    @property
    def log_file(self):
        return self.folder / "server.log"

    def log(self):
        """The last 8 KiB that the server wrote."""
        return self.log_file.read_text(errors="replace")[-8192:] if self.log_file.exists() else ""

    def start(self):
        """Start and wait until it accepts connections."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
                cwd=self.folder,
            )
        return self.wait_until_ready()

    def wait_until_ready(self):
        """Wait until it accepts connections."""
        deadline = time.monotonic() + READY_WITHIN
        while not self._listens():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} was not ready in {READY_WITHIN} s:\n{self.log()}")
            time.sleep(0.02)
        return self

    def _listens(self):
        try:
            socket.create_connection((self.host, self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        """SIGTERM, and wait for the end; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.name} did not stop in {STOPPED_WITHIN} s:\n{self.log()}")

    def kill(self):
        """SIGKILL: the process is gone when this returns."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def close(self):
        """Stop it if it runs and remove every file; `KEEP=1` leaves them to look at."""
        if self.process and self.process.poll() is None:
            self.stop()
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def administrator(self):
        """The account that may run the commands of XEP-0133; (localpart, password)."""
        if not self.has_administrator:
            self.add_user("admin", "administrator's")
            self.has_administrator = True
        return "admin", "administrator's"

    def new_name(self, name="user"):
        """A localpart nobody has."""
        return f"{name}-{secrets.token_hex(4)}"

    def new_user(self, name="user", password=None):
        """An account nobody else has; (localpart, password)."""
        user, password = self.new_name(name), password or f"pw-{secrets.token_hex(4)}"
        self.add_user(user, password)
        return user, password


def built_binary():
    """`POSTHASTE`, or where `cargo build` puts it."""
    if named := os.environ.get("POSTHASTE"):
        return Path(named).resolve()
    root = Path(__file__).parents[2]
    binary = root / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "posthaste"
    if not binary.exists():
        raise RuntimeError(f"{binary} is missing: run `cargo build --bin posthaste`")
    return binary


class Posthaste(Server):
    """Our own, from the source beside these tests."""

    name = "posthaste"
    websocket_path = "/xmpp-websocket"
    version_name = "Posthaste"

    def configure(self):
        self.binary = built_binary()
        self.config = self.folder / "posthaste.toml"
        self.config.write_text(f"""
[listen]
c2s = ["{self.host}:{self.port}"]
c2s_tls = ["{self.host}:{self.tls_port}"]
http = ["{self.host}:{self.http_port}"]
components = ["{self.host}:{self.component_port}"]
metrics = ["{self.host}:{self.extra_port}"]

[tls]
certificate = "{self.certificate}"
private_key = "{self.key}"
client_ca = "{self.authority.certificate_file}"

[storage]
directory = "{self.folder}/data"

[login]
plaintext_on_loopback = true

[accounts]
registrations_per_address = 1000
admins = {json.dumps([f"{name}@{self.domain}" for name in self.administrators])}
# The least that is allowed: hundreds of accounts are made.
password_iterations = 4096

[limits]
size_per_second = "0 B"

[contact]
admin = ["mailto:admin@localhost"]
status = ["https://status.localhost"]

[external_services]
services = ["stun:stun.localhost:3478?transport=udp", "turn:turn.localhost:3478?transport=udp"]
secret = "north"

[log]
level = "info"

[host."{self.domain}"]
registration = true

[host."{self.other_domain}"]

[component."{self.component_domain}"]
secret = "{self.component_secret}"
name = "A bot"

[component."second.{self.component_domain}"]
secret = "another secret"
""")

    def command(self):
        return [str(self.binary), "--config", str(self.config), "run"]

    def add_user(self, user, password, domain=None):
        subprocess.run(
            [str(self.binary), "--config", str(self.config), "user", "add", f"{user}@{domain or self.domain}"],
            input=f"{password}\n", text=True, check=True, capture_output=True,
        )


class Prosody(Server):
    """Prosody as Debian packages it."""

    name = "prosody"
    websocket_path = "/xmpp-websocket"
    version_name = "Prosody"
    lacks = frozenset({
        "SCRAM-SHA-512", "EXTERNAL", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS",
        "jabber:iq:last", "msgoffline", "FAST", "host-meta", "bosh",
        "urn:xmpp:pep-vcard-conversion:0", "urn:xmpp:bookmarks:1#compat", "pubsub service",
        "muc in errors", "passwordprotectedroom", "affiliations by the dozen",
        "upload purposes", "media limits", "ETag", "previews",
    })

    def configure(self):
        (self.folder / "data").mkdir()
        # `disco` and friends are on by themselves; what is listed is what the tests use beyond.
        (self.folder / "prosody.cfg.lua").write_text(f"""
run_as_root = true
pidfile = "{self.folder}/prosody.pid"
data_path = "{self.folder}/data"
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.port} }}
c2s_direct_tls_ports = {{ {self.tls_port} }}
http_ports = {{ {self.http_port} }}
https_ports = {{}}
http_host = "localhost"
s2s_ports = {{}}
component_ports = {{ {self.component_port} }}
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "carbons", "pep", "private", "blocklist",
  "vcard", "version", "time", "ping", "register", "mam", "csi_simple", "smacks",
  "websocket", "lastactivity", "server_contact_info", "external_services", "admin_adhoc", "announce" }}
admins = {{ "admin@{self.domain}" }}
external_services = {{
  {{ type = "stun", transport = "udp", host = "stun.localhost", port = 3478 }},
  {{ type = "turn", transport = "udp", host = "turn.localhost", port = 3478, secret = "north", ttl = 86400, algorithm = "turn" }},
}}
modules_disabled = {{ "s2s", "posix" }}
contact_info = {{ admin = {{ "mailto:admin@localhost" }}; status = {{ "https://status.localhost" }} }}
allow_registration = true
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
consider_websocket_secure = true
authentication = "internal_plain"
limits = {{ }}
log = {{ {{ levels = {{ min = "warn" }}, to = "console" }} }}
ssl = {{ certificate = "{self.certificate}", key = "{self.key}" }}
VirtualHost "{self.domain}"
VirtualHost "{self.other_domain}"
Component "{self.rooms}" "muc"
  modules_enabled = {{ "muc_mam" }}
  muc_log_by_default = false
Component "upload.{self.domain}" "http_file_share"
  http_file_share_size_limit = 100*1024*1024
Component "{self.component_domain}"
  component_secret = "{self.component_secret}"
Component "second.{self.component_domain}"
  component_secret = "another secret"
""")

    def command(self):
        return ["prosody", "-F", "--config", str(self.folder / "prosody.cfg.lua")]

    def add_user(self, user, password, domain=None):
        encode = lambda name: "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in name)
        accounts = self.folder / "data" / encode(domain or self.domain) / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        (accounts / f"{encode(user)}.dat").write_text(f'return {{ ["password"] = "{password}" }};\n')




def chosen():
    """The class that `SERVER` names."""
    return {"posthaste": Posthaste, "prosody": Prosody}[os.environ.get("SERVER", "posthaste")]
