"""The crash tests: under load, something terrible happens to the server, again and again.

Senders and receivers come and go through it all. At the end everything is drained and judged:
a message acknowledged to its sender and never delivered, a repeat that nobody can tell for one,
or one sender's messages out of order fail the test, to accounts as in rooms (rooms.py), whose members and
settings must be what was confirmed; so is every file that was uploaded (media.py). The seed is printed; the same seed makes the
same choices, though not the same moments.
"""

import argparse
import asyncio
import os
import random
import secrets
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from crash.devices import Receiver, Sender  # noqa: E402
from crash.media import SETTINGS, Uploader, look_at_files  # noqa: E402
from crash.rooms import Keeper, Talker, look_at  # noqa: E402
from crash.roomverdict import RoomVerdict  # noqa: E402
from crash.verdict import Verdict, is_complete  # noqa: E402
from interop.servers import chosen  # noqa: E402
from wire import AuthFailed  # noqa: E402

SENDERS = 6
# How the receivers keep their hours.
HOURS = ["always", "always", "turns", "turns", "turns", "end"]
SENDER_PAUSE = 0.01
# Rooms, and who talks in each; everybody hears everybody, so they take more time.
ROOMS = 2
TALKERS = 3
TALKER_PAUSE = 0.2
# Who upload files.
UPLOADERS = 2
# Longest time in which everything must have been acknowledged, and then delivered, at the end.
ACKNOWLEDGED_WITHIN = 60.0
# Sessions that nobody resumes hand back what they held after this; the rest is the server's work.
RESUME_TIMEOUT = 4
DELIVERED_WITHIN = 60.0
# After each misfortune so many more messages must be acknowledged in this time: the service is back.
BACK_WITH = 50
BACK_WITH_IN_ROOMS = 20
BACK_WITHIN = 60.0
# A device ends at the first or second; more than this is an error in the test.
CANCELLATIONS = 20


class Victim(chosen()):
    """The server under test, with what this test needs to know and do."""

    def __init__(self, resume_timeout, seed):
        self.resume_timeout, self.seed = resume_timeout, seed
        self.crashes = 0
        self.shim = {}
        super().__init__()
        self.trigger = self.folder / "trigger"

    def configure(self):
        super().configure()
        if self.name == "posthaste":
            text = self.config.read_text()
            # Talkers say more than people do.
            settings = f"[sessions]\nresume_timeout = \"{self.resume_timeout}s\"\n[rooms]\nmessage_rate = 0\n"
            self.config.write_text(f"{text}\n{settings}{SETTINGS}")

    def put_on_failing_disk(self):
        """From the next start on the store sees the disk through powercut.c."""
        self.shim = {
            "LD_PRELOAD": str(build_shim(self.folder)),
            "POWERCUT_DIR": str(self.folder / "data"),
            "POWERCUT_TRIGGER": str(self.trigger),
        }

    def start(self):
        # Another cut keeps other things.
        self.environment = self.shim and self.shim | {"POWERCUT_SEED": str(self.seed * 1000 + self.crashes)}
        return super().start()

    def do(self, what):
        """Have the disk misbehave; None mends it."""
        if what is None:
            self.trigger.unlink(missing_ok=True)
            return
        beside = self.trigger.with_suffix(".new")
        beside.write_text(what)
        beside.rename(self.trigger)

    async def die(self):
        """Wait until the process is gone, then count it as a crash."""
        await asyncio.to_thread(self.process.wait, 30)
        self.crashes += 1


async def kill(victim, chance):
    """kill -9, and a new start."""
    victim.process.kill()
    await victim.die()
    await asyncio.to_thread(victim.start)


async def power_cut(victim, chance):
    """The power goes: what was not synced is gone or torn."""
    victim.do("cut")
    await victim.die()
    victim.do(None)
    await asyncio.to_thread(victim.start)


def disk_error(error):
    """The disk answers with errors for a while, and sometimes the power goes on top."""

    async def happen(victim, chance):
        victim.do(error)
        await asyncio.sleep(chance.uniform(0.3, 1.5))
        if victim.process.poll() is not None:
            raise AssertionError(f"the server ended with {victim.process.returncode} when the disk failed")
        if chance.random() < 0.3:
            await power_cut(victim, chance)
        else:
            victim.do(None)

    happen.__doc__ = f"The disk answers {error} for a while."
    return happen


async def restart(victim, chance):
    """SIGTERM and a new start: sessions last through it."""
    status = await asyncio.to_thread(victim.stop)
    if status != 0:
        raise AssertionError(f"the server ended with {status} on SIGTERM")
    await asyncio.to_thread(victim.start)


class Kind:
    """One kind of misfortune: what happens, and how often by default."""

    def __init__(self, happen, rounds, short, shim=False, sessions_last=False):
        self.happen, self.rounds, self.short, self.shim = happen, rounds, short, shim
        self.sessions_last = sessions_last


KINDS = {
    "kill": Kind(kill, 20, 4),
    "power-cut": Kind(power_cut, 20, 4, shim=True),
    "disk-full": Kind(disk_error("full"), 20, 2, shim=True),
    "write-error": Kind(disk_error("write-error"), 20, 2, shim=True),
    "sync-error": Kind(disk_error("sync-error"), 20, 2, shim=True),
    "restart": Kind(restart, 20, 2, sessions_last=True),
}


def build_shim(folder):
    """The interposing library, built with the machine's C compiler."""
    library = folder / "powercut.so"
    subprocess.run(
        ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "powercut.c"), "-lpthread", "-ldl"],
        check=True,
    )
    return library


async def run(kind, rounds, seed):
    """One scenario from an empty server to the verdict; the failures."""
    chance = random.Random(seed)
    resume_timeout = 120 if kind.sessions_last else RESUME_TIMEOUT
    victim = Victim(resume_timeout, seed)
    if kind.shim:
        victim.put_on_failing_disk()
    failures = []
    tasks = []
    try:
        senders, receivers = make_devices(victim, chance)
        keepers, talkers = make_rooms(victim, chance)
        uploaders = make_uploaders(victim, chance)
        victim.start()
        active = [*senders, *talkers, *keepers, *uploaders]
        tasks = [asyncio.ensure_future(device.run()) for device in [*receivers, *active]]
        await service_is_there(tasks, senders, talkers)
        for number in range(rounds):
            await load_for(tasks, chance.uniform(0.2, 2.0))
            await kind.happen(victim, chance)
            await service_is_there(tasks, senders, talkers)
            sent = sum(len(s.messages) for s in [*senders, *talkers])
            print(f"  round {number + 1}: {sent} sent so far, {victim.crashes} crashes", flush=True)
        await load_for(tasks, 1.0)
        failures += await drain(victim, senders, receivers, active, tasks)
        verdict = Verdict(senders, receivers)
        failures += verdict.failures
        resumed = sum(d.resumed for d in [*active, *receivers])
        not_resumed = sum(d.not_resumed for d in [*active, *receivers])
        print(f"  {verdict.summary}; {resumed} sessions resumed, {not_resumed} not")
        if kind.sessions_last and not_resumed:
            failures.append(f"{not_resumed} sessions did not last through a graceful restart")
        await end(tasks)
        failures += await look_at_rooms(victim, keepers, talkers, kind.sessions_last)
        failures += await look_at_files(victim, uploaders)
    except AuthFailed as problem:
        failures.append(f"a device that has an account was told {problem}")
    except (AssertionError, subprocess.TimeoutExpired) as problem:
        failures.append(str(problem))
    finally:
        await end(tasks)
        if failures:
            print(f"  the end of the server's log:\n{victim.log()}")
            if os.environ.get("KEEP"):
                print(f"  kept: {victim.folder}")
        victim.close()
    return failures


async def end(tasks):
    """Cancel until all have ended: where a cancellation meets a time-out of the task's own, Python 3.11 may take it
    for the time-out, and the task goes on."""
    running = set(tasks)
    for _ in range(CANCELLATIONS):
        if not running:
            return
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=1.0)
    raise AssertionError(f"{len(running)} devices cannot be stopped")


def make_devices(victim, chance):
    password = secrets.token_hex(8)
    users = [f"r{n}" for n in range(len(HOURS))]
    for user in [*users, *(f"s{n}" for n in range(SENDERS))]:
        victim.add_user(user, password)
    receivers = [
        Receiver(victim, user, password, random.Random(chance.random()), hours)
        for user, hours in zip(users, HOURS)
    ]
    recipients = [receiver.bare_jid for receiver in receivers]
    senders = [
        Sender(
            victim, f"s{n}", password, recipients, random.Random(chance.random()), SENDER_PAUSE,
            with_origin_id=n % 2 == 0,
        )
        for n in range(SENDERS)
    ]
    return senders, receivers


def make_rooms(victim, chance):
    """The owners of the rooms, and who talks in them."""
    password = secrets.token_hex(8)
    keepers, talkers = [], []
    for room in range(ROOMS):
        jid = f"room{room}@conference.{victim.domain}"
        owner = f"k{room}"
        victim.add_user(owner, password)
        keepers.append(Keeper(victim, owner, password, jid, random.Random(chance.random())))
        for n in range(TALKERS):
            user = f"t{room}x{n}"
            victim.add_user(user, password)
            talkers.append(Talker(
                victim, user, password, jid, keepers[-1].opened, random.Random(chance.random()), TALKER_PAUSE,
                with_origin_id=n % 2 == 0,
            ))
    return keepers, talkers


def make_uploaders(victim, chance):
    password = secrets.token_hex(8)
    users = [f"u{n}" for n in range(UPLOADERS)]
    for user in users:
        victim.add_user(user, password)
    return [Uploader(victim, user, password, random.Random(chance.random())) for user in users]


async def look_at_rooms(victim, keepers, talkers, sessions_last):
    """What is wrong with what is left of the rooms after one more kill -9."""
    await kill(victim, None)
    failures = []
    for keeper in keepers:
        found = await look_at(victim, keeper)
        verdict = RoomVerdict([t for t in talkers if t.room_jid == keeper.room_jid], keeper, found, sessions_last)
        print(f"  {keeper.room_jid}: {verdict.summary}")
        failures += [f"{keeper.room_jid}: {failure}" for failure in verdict.failures]
    return failures


async def load_for(tasks, seconds):
    """Let them work; an error in one of them is ours to see."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def service_is_there(tasks, senders, talkers):
    """Wait until messages are acknowledged again, to accounts and in rooms."""
    acknowledged = lambda who: sum(len(s.messages) - len(s.pending) for s in who)
    wanted = acknowledged(senders) + BACK_WITH
    wanted_in_rooms = acknowledged(talkers) + BACK_WITH_IN_ROOMS
    deadline = time.monotonic() + BACK_WITHIN
    while acknowledged(senders) < wanted or acknowledged(talkers) < wanted_in_rooms:
        if time.monotonic() > deadline:
            raise AssertionError(f"the service was not back in {BACK_WITHIN} s")
        await load_for(tasks, 0.05)


async def drain(victim, senders, receivers, active, tasks):
    """No more sending; everybody online; wait until all is delivered or nothing comes any more."""
    for device in [*active, *receivers]:
        device.stopping = True
    sending = tasks[len(receivers):]
    _, late = await asyncio.wait(sending, timeout=ACKNOWLEDGED_WITHIN)
    failures = []
    if late:
        waiting = sum(len(s.pending) for s in active)
        failures.append(f"{waiting} messages of {len(late)} senders were not acknowledged in {ACKNOWLEDGED_WITHIN} s")
    for task in set(sending) - late:
        task.result()
    deadline = time.monotonic() + DELIVERED_WITHIN + victim.resume_timeout * (victim.resume_timeout < 60)
    while not is_complete(senders, receivers) and time.monotonic() < deadline:
        await load_for(tasks[:len(receivers)], 0.2)
    # What might come beyond: repeats and strangers.
    await load_for(tasks[:len(receivers)], 1.0)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a few rounds of each kind")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind; may be repeated")
    parser.add_argument("--rounds", type=int, help="as many rounds of each kind")
    parser.add_argument("--seed", type=int, help="of an earlier run")
    wish = parser.parse_args()
    seed = wish.seed if wish.seed is not None else secrets.randbelow(10**6)
    passed = failed = 0
    for name in wish.kind or KINDS:
        kind = KINDS[name]
        rounds = wish.rounds or (kind.short if wish.short else kind.rounds)
        print(f"{name}: {rounds} rounds, seed {seed}", flush=True)
        failures = asyncio.run(run(kind, rounds, seed))
        for failure in failures:
            print(f"  FAILED: {failure}")
        passed += not failures
        failed += bool(failures)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
