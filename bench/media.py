"""The part `media` of bench/run.py: files up and down beside nginx, slow readers, and what messages feel of it all.

nginx serves a WebDAV folder with our certificate, and the same load generator puts and gets the same files there. It is
the yardstick for throughput and CPU time, not a rival: its PUT neither hashes what comes, nor syncs it, nor keeps accounts.
"""

import json
import shutil
import subprocess
import sys
import time

OURS, YARDSTICK = "posthaste", "nginx"
# Of uploads and downloads at full speed: each client has so many files of that size.
CLIENTS, FILES = 4, 4
UPLOAD_SIZE, DOWNLOAD_SIZE = "64M", "256M"
# Readers who take so many bytes a second of a file that they would need minutes for.
SLOW_READERS, SLOW_PACE, SLOW_SIZE = 1000, "32K", "64M"
# Seconds that the files are on their way before the messages that are measured beside them begin.
AHEAD = 4

# key, row title, unit, whether more is better
ROWS = [
    ("{way}.mib_per_s", "{title}", "MiB/s", True),
    ("{way}.server_cpu_s_per_gib", "server CPU per GiB, {title}", "s", False),
    ("{way}.transfer_p99_ms", "a file's p99, {title}", "ms", False),
]
WAYS = [
    ("down_tls", f"download over TLS, {CLIENTS} clients, {DOWNLOAD_SIZE}iB each"),
    ("down_plain", "download, plain"),
    ("up_tls", f"upload over TLS, {CLIENTS} clients, {UPLOAD_SIZE}iB each"),
    ("up_plain", "upload, plain"),
]
SLOW_ROWS = [
    ("slow_tls.server_rss_grown_mib", f"memory for {SLOW_READERS:,} slow readers over TLS", "MiB", False),
    ("slow_tls.first_byte_p99_ms", "their first byte's p99", "ms", False),
    ("slow_plain.server_rss_grown_mib", f"memory for {SLOW_READERS:,} slow readers, plain", "MiB", False),
]
BESIDE = [("alone", "alone"), ("upload", "beside an upload"), ("download", "beside a download")]
BESIDE_ROWS = [
    ("latency_p50_ms", "delivery latency p50", "ms"),
    ("latency_p99_ms", "delivery latency p99", "ms"),
    ("latency_p999_ms", "delivery latency p99.9", "ms"),
    ("ack_p99_ms", "sender's ack p99", "ms"),
    ("files_mib_per_s", "the files meanwhile", "MiB/s"),
]


class Media:
    """`start(name, environment)` answers a server that is not started yet, on a fresh data directory."""

    def __init__(self, bench, start):
        self.bench, self.options, self.start = bench, bench.options, start
        self.names = [OURS] + ([YARDSTICK] if shutil.which(YARDSTICK) else [])
        self.rate = self.options.rate or 1000

    def run(self):
        for number in range(self.options.rounds):
            print(f"media, round {number + 1}", file=sys.stderr)
            for name in self.names:
                for tls in (True, False):
                    self.full_speed(name, tls)
                    self.slow(name, tls)
            self.fairness()

    def server(self, name, tls):
        if name == YARDSTICK:
            return self.start(name, {"MEDIA_CERTIFICATE": self.certificate, "MEDIA_KEY": self.key})
        server = self.start(name, {})
        server.environment["MEDIA_LISTEN"] = f'{"https" if tls else "http"} = ["127.0.0.1:{server.free_port()}"]'
        return server

    def load(self, server, tls, *options):
        """Ours gives slots over plain XMPP either way, so that only the files are under TLS or not."""
        folder = []
        if server.name == YARDSTICK:
            port, scheme = (server.tls, "https") if tls else (server.plain, "http")
            folder = ["--folder", f"{scheme}://localhost:{port}/"]
        return server.load("media", *options, *folder)

    def entered(self, server):
        """Ours needs accounts, and shows its certificate to whoever compares with it."""
        if server.name == OURS:
            server.load("register", "--accounts", max(CLIENTS, 2 * self.options.pairs))
            tls = server.folder / "data" / "tls"
            for attribute, end in (("certificate", "crt"), ("key", "key")):
                kept = server.folder.parent / f"media.{end}"
                shutil.copyfile(tls / f"localhost.{end}", kept)
                setattr(self, attribute, kept)

    def full_speed(self, name, tls):
        way = "tls" if tls else "plain"
        with self.server(name, tls) as server:
            self.entered(server)
            for part, mode, size in (("up", "upload", UPLOAD_SIZE), ("down", "download", DOWNLOAD_SIZE)):
                self.bench.note(server, f"{part}_{way}", self.load(
                    server, tls, "--mode", mode, "--clients", CLIENTS, "--files", FILES, "--size", size))
        server.forget()

    def slow(self, name, tls):
        with self.server(name, tls) as server:
            self.entered(server)
            self.bench.note(server, f"slow_{'tls' if tls else 'plain'}", self.load(
                server, tls, "--mode", "download", "--clients", SLOW_READERS, "--pace", SLOW_PACE, "--size", SLOW_SIZE,
                "--seconds", 20))
        server.forget()

    def fairness(self):
        """The same server, the same messages: alone, and beside one client that has files at full speed."""
        with self.server(OURS, True) as server:
            self.entered(server)
            for kind, _ in BESIDE:
                files = None if kind == "alone" else self.files(server, kind)
                figures = server.load("chat", "--pairs", self.options.pairs, "--rate", self.rate,
                                      "--seconds", self.options.seconds, "--warmup", 3)
                if files:
                    figures["files_mib_per_s"] = self.end_of(files)
                self.bench.note(server, f"beside_{kind}", figures)
        server.forget()

    def files(self, server, kind):
        """Starts the client with the files. It stands for a machine of its own, so it yields to everything else."""
        command = server.command("media", "--mode", kind, "--clients", 1, "--size", "512M", "--first", self.options.pairs * 2 - 1,
                                 "--seconds", AHEAD + self.options.seconds + 8)
        process = subprocess.Popen(["nice", "-n", "19", *command], stdout=subprocess.PIPE, text=True)
        time.sleep(AHEAD)
        return process

    @staticmethod
    def end_of(process):
        out, _ = process.communicate(timeout=120)
        return json.loads(out)["mib_per_s"] if process.returncode == 0 else None

    def table(self):
        value = self.bench.value
        rows = [(key.format(way=way), text.format(title=title), unit, more)
                for way, title in WAYS for key, text, unit, more in ROWS] + SLOW_ROWS
        lines = ["| | " + " | ".join(self.names) + " | ours against nginx |", "|---|" + "---:|" * (len(self.names) + 1)]
        for key, title, unit, more in rows:
            values = [value(name, key) for name in self.names]
            ratio = "-"
            if len(values) == 2 and all(values):
                ratio = f"{values[0] / values[1] if more else values[1] / values[0]:.2f}x"
            lines.append(f"| {title} | " + " | ".join(cell(it, unit) for it in values) + f" | {ratio} |")
        lines += ["", f"| {self.rate:.0f} messages a second | " + " | ".join(title for _, title in BESIDE) + " |",
                  "|---|" + "---:|" * len(BESIDE)]
        for key, title, unit in BESIDE_ROWS:
            cells = [cell(value(OURS, f"beside_{kind}.{key}"), unit) for kind, _ in BESIDE]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def cell(value, unit):
    return "-" if value is None else f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
