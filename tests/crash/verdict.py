"""What must hold of everything that senders and receivers remember."""

from collections import defaultdict


class Findings:
    """What went wrong, in words: empty if all is well."""

    def __init__(self):
        self.failures = []

    def _must_be_none(self, what, found):
        if found:
            self.failures.append(f"{len(found)} {what}: {', '.join(map(str, found[:5]))}")


class Verdict(Findings):
    """The checks of one scenario; `failures` says what went wrong, `summary` counts."""

    def __init__(self, senders, receivers):
        self.messages = {m.id: m for sender in senders for m in sender.messages}
        self.deliveries = {receiver.bare_jid: receiver.received for receiver in receivers}
        super().__init__()
        self._nothing_acknowledged_is_lost()
        self._every_repeat_can_be_told()
        self._the_order_of_each_sender_is_kept()
        self._nothing_comes_from_nowhere()

    def _nothing_acknowledged_is_lost(self):
        got = {jid: {id for id, _ in received} for jid, received in self.deliveries.items()}
        lost = [
            m.id for m in self.messages.values()
            if m.acknowledged and not m.refused and m.id not in got[m.recipient]
        ]
        self._must_be_none("acknowledged and lost", lost)

    def _every_repeat_can_be_told(self):
        """A delivery shows a stanza-id, and not more of them than the message was sent times."""
        unnumbered, repeated = [], []
        self.repeats = 0
        for received in self.deliveries.values():
            numbers = defaultdict(list)
            for id, number in received:
                numbers[id].append(number)
                if number is None:
                    unnumbered.append(id)
            for id, seen in numbers.items():
                self.repeats += len(seen) - 1
                if id in self.messages and len(set(seen)) > self.messages[id].transmissions:
                    repeated.append(f"{id} as {seen}, sent {self.messages[id].transmissions} times")
        self._must_be_none("delivered without a stanza-id", unnumbered)
        self._must_be_none("repeated under a new stanza-id", repeated)

    def _the_order_of_each_sender_is_kept(self):
        """Looking at the first time each message came."""
        disordered = []
        for jid, received in self.deliveries.items():
            seen, last = set(), defaultdict(lambda: -1)
            for id, _ in received:
                if id in seen:
                    continue
                seen.add(id)
                sender, _, number = id.rpartition("-")
                if int(number) < last[sender]:
                    disordered.append(f"{id} at {jid} after {last[sender]}")
                last[sender] = max(last[sender], int(number))
        self._must_be_none("out of order", disordered)

    def _nothing_comes_from_nowhere(self):
        strangers = [
            id for jid, received in self.deliveries.items() for id, _ in received
            if id not in self.messages or self.messages[id].recipient != jid
        ]
        self._must_be_none("delivered to whom it was not for", strangers)

    @property
    def summary(self):
        count = lambda wanted: sum(1 for m in self.messages.values() if wanted(m))
        return (
            f"{len(self.messages)} sent, {count(lambda m: m.acknowledged)} acknowledged, "
            f"{count(lambda m: m.refused)} refused, "
            f"{sum(len(r) for r in self.deliveries.values())} deliveries, {self.repeats} of them repeats"
        )


def is_complete(senders, receivers):
    """Has everything that must arrive arrived?"""
    got = {receiver.bare_jid: {id for id, _ in receiver.received} for receiver in receivers}
    return all(
        m.refused or not m.acknowledged or m.id in got[m.recipient]
        for sender in senders for m in sender.messages
    )
