#!/usr/bin/env python3
"""Runs the same scenarios against each installed server in turn and prints one Markdown table with ratios.

The servers are measured interleaved: every round starts each of them afresh, one at a time, on a data
directory of its own. A figure is the median of the rounds. Nothing outside the temporary directory is
written (but --json FILE), nothing but loopback is talked to, and every process started is stopped by its id.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from media import Media

TOP = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target")) / "release"
OURS = "posthaste"
RIVALS = {"prosody": "prosody", "ejabberd": "ejabberdctl"}

# key, row title, unit, whether more is better
ROWS = [
    ("login.logins_per_s", "log-ins per second, plain (SCRAM-SHA-1)", "/s", True),
    ("login.server_cpu_ms_per_1000", "server CPU per 1,000 log-ins, plain", "ms", False),
    ("login_tls.logins_per_s", "log-ins per second, TLS", "/s", True),
    ("login_tls.server_cpu_ms_per_1000", "server CPU per 1,000 log-ins, TLS", "ms", False),
    ("idle.rss_bytes_per_session", "memory per idle session, plain", "B", False),
    ("idle_tls.rss_bytes_per_session", "memory per idle session, TLS", "B", False),
    ("chat.delivered_per_s", "messages delivered per second, closed loop", "/s", True),
    ("chat.delivered_per_cpu_s", "messages delivered per CPU second", "/CPU s", True),
    ("chat.server_cpu_ms_per_1000", "server CPU per 1,000 messages", "ms", False),
    ("paced.latency_p50_ms", "delivery latency p50 at {rate:.0f}/s", "ms", False),
    ("paced.latency_p99_ms", "delivery latency p99 at {rate:.0f}/s", "ms", False),
    ("paced.latency_p999_ms", "delivery latency p99.9 at {rate:.0f}/s", "ms", False),
    ("paced.ack_p99_ms", "sender's ack p99 at {rate:.0f}/s", "ms", False),
    ("paced.server_cpu_ms_per_1000", "server CPU per 1,000 messages at {rate:.0f}/s", "ms", False),
    ("offline.stored_per_s", "offline messages stored per second", "/s", True),
    ("offline.store_cpu_ms_per_1000", "server CPU per 1,000 stored", "ms", False),
    ("offline.drained_per_s", "offline messages delivered per second", "/s", True),
    ("offline.drain_cpu_ms_per_1000", "server CPU per 1,000 delivered from offline", "ms", False),
]

# The shapes of rooms: name, rooms, occupants of each.
SHAPES = [("many", 10, 100), ("big", 1, 2000)]
# As ROWS, for each shape and, where presence is told of, for both ways of telling.
JOIN_ROWS = [
    ("join_all_s", "all have joined, {where}", "s", False),
    ("join_stanzas", "stanzas for that, {where}", "", False),
    ("join_cpu_s", "server CPU for that, {where}", "s", False),
    ("last_join_p50_ms", "the last one's join p50, {where}", "ms", False),
    ("last_join_max_ms", "the last one's join, slowest, {where}", "ms", False),
]
ROOM_ROWS = [
    ("rss_bytes_per_occupant", "memory per occupant, {where}", "B", False),
    ("delivered_per_s", "copies delivered per second, closed loop, {where}", "/s", True),
    ("delivered_per_cpu_s", "copies delivered per CPU second, {where}", "/CPU s", True),
]
PACED_ROOM_ROWS = [
    ("latency_p50_ms", "latency p50 at {rate:.1f}/s, {where}", "ms", False),
    ("latency_p99_ms", "latency p99 at {rate:.1f}/s, {where}", "ms", False),
    ("latency_p999_ms", "latency p99.9 at {rate:.1f}/s, {where}", "ms", False),
    ("ack_p99_ms", "sender's ack p99 at {rate:.1f}/s, {where}", "ms", False),
    ("server_cpu_ms_per_1000", "server CPU per 1,000 copies at {rate:.1f}/s, {where}", "ms", False),
]


def room_rows(rates):
    """The rows of the rooms; `rates` are the messages per second of each shape's latency."""
    rows = []
    for shape, rooms, occupants in SHAPES:
        where = f"{occupants:,} in {'a room' if rooms == 1 else f'each of {rooms}'}"
        fill = lambda part, table, where: rows.extend(  # noqa: E731
            (f"{part}.{key}", title.format(where=where, rate=rates.get(shape, 0)), unit, more)
            for key, title, unit, more in table)
        fill(shape, JOIN_ROWS, where)
        fill(f"{shape}_quiet", JOIN_ROWS, f"{where}, moderators' presence only")
        fill(f"{shape}_quiet", ROOM_ROWS, where)
        fill(f"{shape}_paced", PACED_ROOM_ROWS, where)
    return rows


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server on its own data directory; a context manager that starts and stops it."""

    def __init__(self, name, folder, environment=None):
        self.name = name
        self.folder = folder
        self.environment = environment or {}
        self.script = TOP / "bench" / "servers" / f"{name}.sh"
        self.plain, self.tls = free_port(), free_port()

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [self.script, "start", self.folder, str(self.plain), str(self.tls)],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60,
            env=os.environ | {name: str(value) for name, value in self.environment.items()},
        )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.tls), timeout=1).close()
                socket.create_connection(("127.0.0.1", self.plain), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.2)
        self.__exit__()
        log = (self.folder / "out.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{self.name} did not start:\n{log}")

    def __exit__(self, *_):
        subprocess.run([self.script, "stop", self.folder], check=False, timeout=60)

    def forget(self):
        """Removes what a server that has been stopped has stored."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self):
        return (self.folder / "pids").read_text().split()

    free_port = staticmethod(free_port)

    def command(self, scenario, *options, tls=False):
        """How posthaste-load is started for this server."""
        port = self.tls if tls else self.plain
        return [
            TARGET / "posthaste-load", "--json", scenario, "--server", f"127.0.0.1:{port}",
            "--server-pid", ",".join(self.pids()), "--tls", "direct" if tls else "none", *map(str, options),
        ]

    def load(self, scenario, *options, tls=False, limit=300):
        """Runs posthaste-load and returns its figures."""
        command = self.command(scenario, *options, tls=tls)
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        if done.returncode != 0:
            print(f"  {self.name} {scenario} failed: {done.stderr.strip()[-500:]}", file=sys.stderr)
            return {}
        return json.loads(done.stdout)


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.figures = {}  # server -> key -> list of values, one per round
        self.media = Media(self, lambda name, environment: Server(name, folder / f"{name}-media", environment))
        self.room_rates = {}  # shape -> messages per second of its latency

    def note(self, server, part, figures):
        say = {k: round(v, 1) for k, v in figures.items() if isinstance(v, (int, float)) and any(
            k.endswith(end) for end in ("_per_s", "cpu_s", "per_session", "per_occupant", "per_1000", "p99_ms", "all_s",
                                        "missing", "failed", "undelivered_in_all", "per_gib", "grown_mib"))}
        print(f"  {server.name:10} {part:11} {say}", file=sys.stderr)
        for key, value in figures.items():
            if isinstance(value, (int, float)):
                self.figures.setdefault(server.name, {}).setdefault(f"{part}.{key}", []).append(value)

    def value(self, name, key):
        values = self.figures.get(name, {}).get(key)
        return statistics.median(values) if values else None

    def server(self, name):
        return Server(name, self.folder / name)

    def register(self, name):
        with self.server(name) as server:
            server.load("register", "--accounts", self.options.sessions)

    def memory(self, name):
        """A fresh process for each, since memory once used for something else would be used again."""
        for part, tls in (("idle", False), ("idle_tls", True)):
            with self.server(name) as server:
                self.note(server, part, server.load(
                    "idle", "--sessions", self.options.sessions, "--before", self.options.sessions // 5,
                    "--settle", 15, tls=tls))

    def traffic(self, name):
        seconds, pairs = self.options.seconds, self.options.pairs
        with self.server(name) as server:
            for part, tls in (("login", False), ("login_tls", True)):
                self.note(server, part, server.load("login", "--accounts", 500, "--seconds", seconds, tls=tls))
            self.note(server, "chat", server.load(
                "chat", "--pairs", pairs, "--window", self.options.window, "--seconds", seconds))
            self.note(server, "offline", server.load(
                "offline", "--senders", 50, "--recipients", 200, "--messages", self.options.offline))

    def paced(self, name, rate):
        with self.server(name) as server:
            return server, server.load(
                "chat", "--pairs", self.options.pairs, "--rate", rate, "--seconds", self.options.seconds,
                # Long enough for a server that has to open its users' archives first.
                "--warmup", 15)

    def limit_of(self, name):
        """The highest rate that this server carries: nothing is left behind and p99 stays under a second."""
        most = self.value(name, "chat.delivered_per_s") or 0
        for share in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5):
            rate = most * share
            _, figures = self.paced(name, rate)
            carried = figures.get("delivered_per_s", 0) >= 0.98 * rate and figures.get("latency_p99_ms", 1e9) < 1000
            print(f"  {name} at {rate:.0f}/s: {'carried' if carried else 'not carried'}", file=sys.stderr)
            if carried:
                return rate
        return most * 0.4

    def run(self, names):
        parts = self.options.parts.split(",")
        if "media" in parts:
            self.media.run()
        if parts == ["media"]:
            return 0
        for name in names:
            self.register(name)
        for number in range(self.options.rounds):
            print(f"round {number + 1}", file=sys.stderr)
            # Memory hardly varies from run to run.
            for name in names if number == 0 and "memory" in parts else ():
                self.memory(name)
            for name in names if "traffic" in parts else ():
                self.traffic(name)
        self.room_rates = self.rooms(names) if "rooms" in parts else {}
        if "latency" not in parts:
            return 0
        rate = self.options.rate or self.rivals_limit(names)
        for number in range(self.options.rounds):
            print(f"latency at {rate:.0f}/s, round {number + 1}", file=sys.stderr)
            for name in names:
                server, figures = self.paced(name, rate)
                self.note(server, "paced", figures)
        return rate

    def rooms(self, names):
        """Joining, memory and closed loop of each shape, then latency at a rate that the better rival holds."""
        rates = {}
        for number in range(self.options.rounds):
            print(f"rooms, round {number + 1}", file=sys.stderr)
            for name in names:
                for shape, _, occupants in SHAPES:
                    # A fresh process for each, as for idle memory.
                    with self.server(name) as server:
                        self.note(server, f"{shape}_quiet", self.room_load(
                            server, shape, "--quiet-presence", "--seconds", self.options.seconds))
                    # Four million presences keep the others busy for a quarter of an hour and more.
                    if occupants <= 100 or name == OURS or self.options.all_presence:
                        with self.server(name) as server:
                            self.note(server, shape, self.room_load(server, shape, "--seconds", 0))
        for shape, *_ in SHAPES:
            rates[shape] = self.options.rate or self.room_rate(names, shape)
        for number in range(self.options.rounds):
            print(f"latency in rooms, round {number + 1}", file=sys.stderr)
            for name in names:
                for shape, *_ in SHAPES:
                    with self.server(name) as server:
                        self.note(server, f"{shape}_paced", self.paced_rooms(server, shape, rates[shape]))
        return rates

    @staticmethod
    def room_load(server, shape, *options):
        rooms, occupants = next((rooms, occupants) for name, rooms, occupants in SHAPES if name == shape)
        return server.load("rooms", "--rooms", rooms, "--occupants", occupants, *options, limit=900)

    def paced_rooms(self, server, shape, rate):
        # Nobody is told of joins: they are no part of this measurement and take most of its time.
        return self.room_load(server, shape, "--quiet-presence", "--rejoins", 0, "--rate", rate,
                              "--seconds", self.options.seconds, "--warmup", 5)

    def room_rate(self, names, shape):
        """Messages per second that the better rival carries: nothing is left behind and p99 stays under a second."""
        rivals = [name for name in names if name != OURS] or names
        occupants = next(occupants for name, _, occupants in SHAPES if name == shape)
        better = max(rivals, key=lambda name: self.value(name, f"{shape}_quiet.delivered_per_s") or 0)
        most = (self.value(better, f"{shape}_quiet.delivered_per_s") or 0) / occupants
        for share in (0.7, 0.5, 0.3):
            rate = round(most * share, 1)
            with self.server(better) as server:
                figures = self.paced_rooms(server, shape, rate)
            carried = (figures.get("delivered_per_s", 0) >= 0.95 * rate * occupants
                       and figures.get("latency_p99_ms", 1e9) < 1000)
            print(f"  {better} {shape} at {rate}/s: {'carried' if carried else 'not carried'}", file=sys.stderr)
            if carried:
                return rate
        return round(most * 0.2, 1)

    def rivals_limit(self, names):
        rivals = [name for name in names if name != OURS] or names
        better = max(rivals, key=lambda name: self.value(name, "chat.delivered_per_s") or 0)
        return self.limit_of(better)

    def table(self, names, rate):
        rivals = [name for name in names if name != OURS]
        lines = ["| | " + " | ".join(names) + " | ours against the better |",
                 "|---|" + "---:|" * (len(names) + 1)]
        parts = self.options.parts.split(",")
        rows = ROWS if parts != ["rooms"] else []
        for key, title, unit, more in rows + (room_rows(self.room_rates) if "rooms" in parts else []):
            values = {name: self.value(name, key) for name in names}
            cells = [f"{values[name]:,.{1 if values[name] < 100 else 0}f} {unit}" if values[name] is not None else "-"
                     for name in names]
            known = [values[name] for name in rivals if values[name]]
            ratio = "-"
            if known and values.get(OURS):
                times = values[OURS] / max(known) if more else min(known) / values[OURS]
                ratio = f"{times:.1f}x"
            lines.append(f"| {title.format(rate=rate)} | " + " | ".join(cells) + f" | {ratio} |")
        return "\n".join(lines)


def versions(names):
    found = []
    for name in names:
        if name == OURS:
            commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=TOP, capture_output=True, text=True)
            found.append(f"{OURS} {commit.stdout.strip()}")
        else:
            package = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True)
            found.append(f"{name} {package.stdout.strip()}")
    return ", ".join(found)


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores of {model}, shared by server and load; Linux {platform.release()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default=",".join([OURS, *RIVALS]), help="which, in which order")
    parser.add_argument("--parts", default="memory,traffic,latency,rooms,media", help="latency alone needs --rate")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--sessions", type=int, default=8000, help="idle sessions, and accounts made")
    parser.add_argument("--pairs", type=int, default=200, help="of users who chat")
    parser.add_argument("--window", type=int, default=4, help="messages under way per pair, closed loop")
    parser.add_argument("--offline", type=int, default=50, help="messages for each of 200 absent users")
    parser.add_argument("--rate", type=float, help="messages per second for latency (default: the better rival's limit; beside files: 1,000)")
    parser.add_argument("--all-presence", action="store_true",
                        help="let 2,000 occupants be told of each other by the rivals too; takes half an hour")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here too")
    parser.add_argument("--keep", action="store_true", help="keep the data directories")
    options = parser.parse_args()

    names = [name for name in options.servers.split(",") if name == OURS or shutil.which(RIVALS.get(name, name))]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="posthaste-bench-"))
    bench = Bench(options, folder)
    try:
        rate = bench.run(names)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{versions(names)}; {machine()}; median of {options.rounds} rounds\n")
    parts = options.parts.split(",")
    if parts != ["media"]:
        print(bench.table(names, rate))
    if "media" in parts:
        print(bench.media.table())
    if options.json:
        options.json.write_text(json.dumps({"rate": rate, "room_rates": bench.room_rates, "figures": bench.figures}, indent=1))


if __name__ == "__main__":
    main()
