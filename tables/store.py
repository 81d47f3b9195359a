"""A partition's store: users, timers, members and meta over one `Kv`, kept in step by writing all
of it in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from app.domain.limits import NEVER
from app.domain.members import name_of
from tables import members, meta, timers, users
from tables.kv import Kv
from tables.meta import Meta
from tables.users import StoredUser

_TIMERS_END = timers.UPPER


class UserWrite(msgspec.Struct, gc=False):
    """One user's rows after a commit.

    `raw` None removes the user. `armed_before`/`armed` are the due times under which the timers
    table had and will have the user (NEVER: none). `left` and `joined` are the changes of the
    members table; a member whose since changed is in `joined` only. `entered` are the member keys
    that are new, `arrived` and `gone` the segments whose number of people grows or shrinks by this
    user (`members.ANY` among them for one who was in none, or is). `new`: there was no row.
    """

    user: str
    raw: bytes | None
    armed_before: int
    armed: int
    left: Sequence[str]
    joined: Sequence[tuple[str, int]]
    entered: Sequence[str]
    arrived: Sequence[str]
    gone: Sequence[str]
    new: bool


class PartitionStore:
    """One partition's tables.

    Not safe for two threads writing; a reader beside one writer sees whole batches.
    """

    def __init__(self, kv: Kv) -> None:
        self._kv = kv
        self._sizes: dict[str, int] = {}
        self._people: dict[str, int] = {}
        self._load()

    def _load(self) -> None:
        raw = self._kv.get(meta.KEY)
        try:
            self._meta = meta.decode(raw) if raw else Meta()
        except msgspec.MsgspecError:
            self._meta = Meta(layout=-1)
        if self._meta.layout != meta.LAYOUT:
            self.wipe()
            return
        rows = self._kv.scan(members.SIZE_PREFIX, members.SIZE_UPPER, 1 << 30)
        self._sizes = {members.size_key_of(key): members.decode_number(value) for key, value in rows}
        rows = self._kv.scan(members.PEOPLE_PREFIX, members.PEOPLE_UPPER, 1 << 30)
        self._people = {members.people_key_of(key): members.decode_number(value) for key, value in rows}

    @property
    def meta(self) -> Meta:
        """How far the store is."""
        return self._meta

    def get(self, user: str) -> StoredUser | None:
        """One user's row."""
        value = self._kv.get(users.key(user))
        return None if value is None else users.decode(value)

    def get_many(self, wanted: Sequence[str]) -> list[StoredUser | None]:
        """Users' rows, in the order asked."""
        values = self._kv.get_many([users.key(user) for user in wanted])
        return [None if value is None else users.decode(value) for value in values]

    def apply(self, writes: Iterable[UserWrite], after: Meta) -> None:
        """Writes all rows of a commit, and how far the store is then, in one batch.

        `after.users` is overwritten with the true count.
        """
        puts: list[tuple[bytes, bytes]] = []
        deletes: list[bytes] = []
        sizes, people = _Moved(), _Moved()
        count = self._meta.users
        for write in writes:
            count += _rows(write, puts, deletes)
            if write.left or write.entered:
                sizes.add(write.left, -1)
                sizes.add(write.entered, 1)
                people.add(write.gone, -1)
                people.add(write.arrived, 1)
        after = msgspec.structs.replace(after, users=count)
        sizes_after = sizes.onto(self._sizes, members.size_key, puts, deletes)
        people_after = people.onto(self._people, members.people_key, puts, deletes)
        puts.append((meta.KEY, meta.encode(after)))
        self._kv.write(puts, deletes)
        self._meta = after
        self._sizes, self._people = sizes_after, people_after

    def due(self, lower: bytes, upto: int, limit: int) -> list[tuple[int, str]]:
        """At most `limit` timers (due, user) from the key `lower` on that are due at or before
        `upto`, in the order of time.
        """
        rows = self._kv.scan(lower, timers.bound(upto + 1), limit)
        return [timers.parse(key) for key, _ in rows]

    def first_due(self, lower: bytes) -> int:
        """The earliest due time from the key `lower` on; NEVER when there is none."""
        rows = self._kv.scan(lower, _TIMERS_END, 1)
        return timers.parse(rows[0][0])[0] if rows else NEVER

    def members(self, segment: str, position: tuple[str, str] | None, limit: int) -> list[tuple[str, str, int]]:
        """At most `limit` (member key, user, since) of a segment and all its values, behind
        `position` (member key, user).
        """
        found: list[tuple[str, str, int]] = []
        for lower, upper in members.ranges(segment):
            start = lower if position is None else max(lower, members.after(*position))
            if start < upper and len(found) < limit:
                rows = self._kv.scan(start, upper, limit - len(found))
                found += [(*members.parse(key), members.decode_number(value)) for key, value in rows]
        return found

    def sizes(self) -> Mapping[str, int]:
        """Members by member key; those with none are absent."""
        return self._sizes

    def people(self) -> Mapping[str, int]:
        """People by segment name, each once whatever values they are in, those in any under
        `members.ANY`; segments of none are absent.
        """
        return self._people

    def page(self, after_user: str | None, limit: int) -> list[tuple[str, StoredUser]]:
        """At most `limit` users behind `after_user` (None: from the first), in the order of their
        bytes.
        """
        lower = users.PREFIX if after_user is None else users.key(after_user) + b"\x00"
        return [(users.user_of(key), users.decode(value)) for key, value in self._kv.scan(lower, users.UPPER, limit)]

    def wipe(self) -> None:
        """Removes everything."""
        self._kv.clear()
        self._meta = Meta()
        self._sizes = {}
        self._people = {}

    def close(self) -> None:
        """Lets go of the folder; no call may follow."""
        self._kv.close()


class _Moved:
    """By how much counts change in one write."""

    def __init__(self) -> None:
        self._by: dict[str, int] = {}

    def add(self, names: Sequence[str], change: int) -> None:
        for name in names:
            self._by[name] = self._by.get(name, 0) + change

    def onto(
        self,
        counts: dict[str, int],
        row_key: Callable[[str], bytes],
        puts: list[tuple[bytes, bytes]],
        deletes: list[bytes],
    ) -> dict[str, int]:
        """The counts after it, those of none left out, their rows added to the batch.

        A new dict: another thread may be reading the old.
        """
        changed = {name: counts.get(name, 0) + change for name, change in self._by.items() if change}
        if not changed:
            return counts
        for name, count in changed.items():
            if count > 0:
                puts.append((row_key(name), members.encode_number(count)))
            else:
                deletes.append(row_key(name))
        return {name: count for name, count in {**counts, **changed}.items() if count > 0}


def _rows(write: UserWrite, puts: list[tuple[bytes, bytes]], deletes: list[bytes]) -> int:
    """Adds one user's rows; gives by how many the number of users grows."""
    user = write.user
    if write.raw is None:
        deletes.append(users.key(user))
        armed, grown = NEVER, 0 if write.new else -1
    else:
        puts.append((users.key(user), users.encode(write.armed, write.raw)))
        armed, grown = write.armed, int(write.new)
    if armed != write.armed_before:
        if write.armed_before != NEVER:
            deletes.append(timers.key(write.armed_before, user))
        if armed != NEVER:
            puts.append((timers.key(armed, user), b""))
    deletes.extend(members.key(member_key, user) for member_key in write.left)
    puts.extend((members.key(member_key, user), members.encode_number(since)) for member_key, since in write.joined)
    return grown


def write_for(
    user: str,
    raw: bytes | None,
    armed_before: int,
    armed: int,
    old: Mapping[str, int],
    new: Mapping[str, int],
    is_new: bool,
) -> UserWrite:
    """The rows of one user whose members (member key → since) were `old` and are `new`."""
    if old == new:
        return UserWrite(user, raw, armed_before, armed, (), (), (), (), (), is_new)
    left = [key for key in old if key not in new]
    joined = [(key, since) for key, since in new.items() if old.get(key) != since]
    entered = [key for key in new if key not in old]
    arrived, gone = _lacking(entered, old), _lacking(left, new)
    return UserWrite(user, raw, armed_before, armed, left, joined, entered, arrived, gone, is_new)


def _lacking(keys: Sequence[str], others: Mapping[str, int]) -> list[str]:
    """The segments of `keys` of which `others` has no member key, and `members.ANY` where it has
    none at all.
    """
    if not keys:
        return []
    found = {name_of(key) for key in keys} - {name_of(key) for key in others}
    return [*found] if others else [*found, members.ANY]
