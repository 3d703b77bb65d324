"""What must hold of everything that those in a room remember, and of what the room is in the end."""

from collections import Counter, defaultdict

from crash.verdict import Findings


class RoomVerdict(Findings):
    """The checks of one room; `failures` says what went wrong, `summary` counts."""

    def __init__(self, talkers, keeper, found, sessions_last=False):
        self.messages = {m.id: m for talker in talkers for m in talker.messages}
        self.talkers, self.keeper, self.found = talkers, keeper, found
        super().__init__()
        self._nothing_acknowledged_is_missing()
        self._each_is_there_once()
        self._the_order_of_each_is_kept()
        self._what_was_heard_is_what_is_there()
        self._nobody_was_cast_out()
        self._what_was_confirmed_is_so()
        if sessions_last:
            self._who_was_there_heard_all_of_it()

    def _nothing_acknowledged_is_missing(self):
        there = {id for id, _ in self.found.archive}
        lost = [m.id for m in self.messages.values() if m.acknowledged and not m.refused and m.id not in there]
        self._must_be_none("acknowledged and not in the archive", lost)
        strangers = [id for id in there if id not in self.messages]
        self._must_be_none("in the archive, and said by nobody", strangers)

    def _each_is_there_once(self):
        """No number twice, and no message more often than it was sent."""
        messages, numbers = defaultdict(set), defaultdict(list)
        for id, number in self.found.archive:
            messages[id].add(number)
            numbers[number].append(id)
        self._must_be_none("numbers given twice", [f"{n}: {ids}" for n, ids in numbers.items() if len(ids) > 1])
        repeated = [
            f"{id} as {sorted(seen)}, sent {self.messages[id].transmissions} times"
            for id, seen in messages.items()
            if id in self.messages and len(seen) > self.messages[id].transmissions
        ]
        self._must_be_none("more often in the archive than they were said", repeated)

    def _the_order_of_each_is_kept(self):
        """In the archive, and as each heard it, looking at the first time each message came."""
        disordered = [f"{id} in the archive" for id in out_of_order(self.found.archive)]
        for talker in self.talkers:
            disordered += [f"{id} at {talker.user}" for id in out_of_order(talker.heard)]
        self._must_be_none("out of order", disordered)

    def _what_was_heard_is_what_is_there(self):
        """A number that was seen with one message never belongs to another."""
        there = {number: id for id, number in self.found.archive}
        unnumbered, others = [], []
        for talker in self.talkers:
            for id, number in talker.heard:
                if number is None:
                    unnumbered.append(id)
                elif there.setdefault(number, id) != id:
                    others.append(f"{number} was {id} for {talker.user}, and {there[number]}")
        self._must_be_none("heard without a number", unnumbered)
        self._must_be_none("numbers that belong to two messages", others)

    def _nobody_was_cast_out(self):
        self._must_be_none("told not to be in the room that they were in", [i for t in self.talkers for i in t.cast_out])
        self._must_be_none("times the room was gone", [t.user for t in self.talkers if t.found_gone])

    def _who_was_there_heard_all_of_it(self):
        """Of what the archive has between the first and the last that a talker heard, once each."""
        missed, twice = [], []
        for talker in self.talkers:
            numbers = [number for _, number in talker.heard]
            heard = set(numbers)
            there = [number for _, number in self.found.archive]
            here = [place for place, number in enumerate(there) if number in heard]
            if here:
                missed += [f"{n} at {talker.user}" for n in there[here[0]:here[-1]] if n not in heard]
            twice += [f"{n} at {talker.user}" for n, count in Counter(numbers).items() if count > 1]
        self._must_be_none("missed by who was there", missed)
        self._must_be_none("heard twice by who was there", twice)

    def _what_was_confirmed_is_so(self):
        """What was confirmed last is so, or what was asked after it and not refused."""
        may_be = defaultdict(lambda: {None})
        for change in self.keeper.changes:
            value = None if change.value == "none" else change.value
            if change.outcome == "confirmed":
                may_be[change.key] = {value}
            elif change.outcome == "unknown":
                may_be[change.key].add(value)
        wrong = []
        for key, values in may_be.items():
            is_now = self.found.name if key == "name" else self.found.affiliations.get(key)
            # A room without a name of its own may have one all the same.
            if is_now not in values and not (key == "name" and None in values):
                wrong.append(f"{key} is {is_now}, and not one of {sorted(map(str, values))}")
        self._must_be_none("changes confirmed and not made", wrong)

    @property
    def summary(self):
        confirmed = sum(change.outcome == "confirmed" for change in self.keeper.changes)
        return (
            f"{len(self.messages)} said in the room, {len(self.found.archive)} in its archive, "
            f"{sum(len(t.heard) for t in self.talkers)} heard; "
            f"{len(self.keeper.changes)} changes, {confirmed} confirmed"
        )


def out_of_order(seen_in_line):
    """The messages that came after a later one of the same sender."""
    seen, last = set(), defaultdict(lambda: -1)
    for id, _ in seen_in_line:
        if id in seen:
            continue
        seen.add(id)
        sender, _, number = id.rpartition("-")
        if int(number) < last[sender]:
            yield id
        last[sender] = max(last[sender], int(number))
