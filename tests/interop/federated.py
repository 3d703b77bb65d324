"""Servers that talk to each other: ours, Prosody and ejabberd, with one name server and one certificate authority."""

import json
import shutil
import tempfile
import urllib.request
from pathlib import Path

import certificates

from .names import NameServer
from .servers import Posthaste, Prosody, Server, free_ports


def _at(server, network):
    """What every server of a network has: its names' addresses, and a certificate (or one that nobody trusts)."""
    server.s2s_port, server.s2s_tls_port = free_ports(2)
    server.network = network
    if network.trusted:
        # In the place of the one that it has: Prosody looks there by itself.
        issued = network.authority.issue_server(server.domain)
        shutil.copy(issued[0], server.certificate)
        shutil.copy(issued[1], server.key)
    for domain in (server.domain, server.other_domain, server.rooms):
        network.names.serves(domain, server.s2s_port, server.s2s_tls_port if server.direct_tls else None)


class FederatedPosthaste(Posthaste):
    """Ours, with federation."""

    domain, other_domain = "posthaste.example", "second.posthaste.example"
    direct_tls = True

    def __init__(self, network):
        self.network = network
        super().__init__()

    def configure(self):
        _at(self, self.network)
        super().configure()
        text = self.config.read_text().replace("[listen]", f"""[listen]
s2s = ["{self.host}:{self.s2s_port}"]
s2s_tls = ["{self.host}:{self.s2s_tls_port}"]
""", 1)
        self.config.write_text(text.replace('level = "info"', 'level = "debug"') + f"""
[s2s]
enabled = true
dialback = {"false" if self.network.trusted else "true"}
authorities = "{self.network.authority.certificate_file}"
nameservers = ["127.0.0.1:{self.network.names.port}"]
longest_pause = "1s"
""")
        if self.network.trusted:
            self.certificate = self.network.authority.certificate_file


    def metric(self, name):
        """The present value of a metric without labels."""
        page = urllib.request.urlopen(f"http://{self.host}:{self.extra_port}/metrics", timeout=15)
        lines = page.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


class FederatedProsody(Prosody):
    """Prosody, with federation."""

    domain, other_domain = "prosody.example", "second.prosody.example"
    direct_tls = True

    def __init__(self, network):
        self.network = network
        super().__init__()

    def configure(self):
        _at(self, self.network)
        super().configure()
        config = self.folder / "prosody.cfg.lua"
        text = config.read_text()
        text = text.replace("s2s_ports = {}", f"s2s_ports = {{ {self.s2s_port} }}")
        text = text.replace('modules_disabled = { "s2s", "posix" }', 'modules_disabled = { "posix" }')
        text = text.replace('modules_enabled = { ', 'modules_enabled = { "s2s", "dialback", ')
        secure = "true" if self.network.trusted else "false"
        settings = f"""
s2s_direct_tls_ports = {{ {self.s2s_tls_port} }}
s2s_direct_tls_ssl = {{ certificate = "{self.certificate}", key = "{self.key}" }}
s2s_require_encryption = true
s2s_secure_auth = {secure}
s2s_insecure_domains = {{ }}
unbound = {{
  resolvconf = false; hoststxt = false; trustfile = "/dev/null";
  forward = "127.0.0.1@{self.network.names.port}";
  options = {{ ["do-not-query-localhost:"] = "no" }};
}}
"""
        authority = self.network.authority.certificate_file
        text = text.replace("ssl = {", f'{settings}ssl = {{ cafile = "{authority}", capath = false, ', 1)
        text = text.replace('min = "warn"', 'min = "debug"')
        config.write_text(text)
        if self.network.trusted:
            self.certificate = authority


class Ejabberd(Server):
    """ejabberd as Debian packages it, with federation."""

    name = "ejabberd"
    domain, other_domain = "ejabberd.example", "second.ejabberd.example"
    direct_tls = False

    def __init__(self, network):
        self.network = network
        super().__init__()

    def configure(self):
        _at(self, self.network)
        for name in ("data", "home"):
            (self.folder / name).mkdir()
        both = self.folder / "both.pem"
        both.write_bytes(Path(self.certificate).read_bytes() + Path(self.key).read_bytes())
        # Without the first two lines it reads the system's files again.
        (self.folder / "inetrc").write_text(
            '{resolv_conf, ""}.\n{hosts_file, ""}.\n{lookup, [dns]}.\n'
            f"{{nameserver, {{127,0,0,1}}, {self.network.names.port}}}.\n"
        )
        authority = self.network.authority.certificate_file
        (self.folder / "ejabberd.yml").write_text(f"""
hosts: ["{self.domain}"]
loglevel: info
default_db: mnesia
auth_method: internal
certfiles: ["{both}"]
ca_file: "{authority}"
s2s_use_starttls: {"required" if self.network.trusted else "optional"}
s2s_dns_timeout: 5
negotiation_timeout: 20
s2s_access: all
listen:
  - {{port: {self.port}, ip: "127.0.0.1", module: ejabberd_c2s, starttls: true}}
  - {{port: {self.s2s_port}, ip: "127.0.0.1", module: ejabberd_s2s_in}}
  - {{port: {self.http_port}, ip: "127.0.0.1", module: ejabberd_http, request_handlers: {{/api: mod_http_api}}}}
shaper_rules:
  max_user_offline_messages: infinity
api_permissions:
  "loopback": {{who: {{ip: "127.0.0.1"}}, what: ["register"]}}
modules:
  mod_caps: {{}}
  mod_disco: {{}}
  mod_mam: {{default: always, assume_mam_usage: false}}
  mod_muc: {{}}
  mod_offline: {{access_max_user_messages: max_user_offline_messages}}
  mod_ping: {{}}
  mod_pubsub: {{plugins: [flat, pep]}}
  mod_roster: {{}}
  mod_s2s_dialback: {{}}
  mod_vcard: {{}}
  mod_version: {{}}
""")
        libraries = next(Path("/usr/lib").glob("**/ejabberd-*/ebin")).parent.parent
        self.environment = {
            "ERL_LIBS": str(libraries), "ERL_INETRC": str(self.folder / "inetrc"),
            "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
            "EJABBERD_PID_PATH": str(self.folder / "ejabberd.pid"),
            "ERL_CRASH_DUMP": str(self.folder / "crash.dump"), "HOME": str(self.folder / "home"),
        }
        if self.network.trusted:
            self.certificate = authority

    @property
    def log_file(self):
        return self.folder / "server.log"

    def log(self):
        own = self.folder / "ejabberd.log"
        return own.read_text(errors="replace")[-16384:] if own.exists() else super().log()

    def command(self):
        return [
            "erl", "+K", "true", "-noinput", "-mnesia", "dir", f'"{self.folder}/data"', "-s", "ejabberd",
        ]

    def add_user(self, user, password, domain=None):
        body = {"user": user, "host": domain or self.domain, "password": password}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}/api/register", json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=15).close()


class Network:
    """Ours and another server, started together."""

    def __init__(self, other, trusted):
        self.trusted = trusted
        self.names = NameServer()
        self.folder = Path(tempfile.mkdtemp(prefix="authority-"))
        self.authority = certificates.Authority(self.folder)
        self.ours, self.theirs = FederatedPosthaste(self), other(self)
        self.servers = [self.ours, self.theirs]

    def start(self):
        self.theirs.start()
        self.ours.start()
        return self

    def close(self):
        for server in (self.ours, self.theirs):
            server.close()
        self.names.close()
        shutil.rmtree(self.folder, ignore_errors=True)
