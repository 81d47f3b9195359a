"""A partition's store: users, timers, members and meta over one `Kv`, kept in step by writing all of it in one batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from app.domain.limits import NEVER
from tables import members, meta, timers, users
from tables.kv import Kv
from tables.meta import Meta
from tables.users import StoredUser

_TIMERS_END = timers.UPPER


class UserWrite(msgspec.Struct, gc=False):
    """One user's rows after a commit.

    `raw` None removes the user. `armed_before`/`armed` are the due times under which the timers table had and will have the user
    (NEVER: none). `left` and `joined` are the changes of the members table; a member whose since changed is in `joined` only.
    `new`: there was no row.
    """

    user: str
    raw: bytes | None
    armed_before: int
    armed: int
    left: Sequence[str]
    joined: Sequence[tuple[str, int]]
    entered: Sequence[str]
    new: bool


class PartitionStore:
    """One partition's tables. Not safe for two threads writing; a reader beside one writer sees whole batches."""

    def __init__(self, kv: Kv) -> None:
        self._kv = kv
        self._sizes: dict[str, int] = {}
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
        """Writes all rows of a commit, and how far the store is then, in one batch. `after.users` is overwritten with the true count."""
        puts: list[tuple[bytes, bytes]] = []
        deletes: list[bytes] = []
        moved: dict[str, int] = {}
        count = self._meta.users
        for write in writes:
            count += _rows(write, puts, deletes)
            for member_key in write.left:
                moved[member_key] = moved.get(member_key, 0) - 1
            for member_key in write.entered:
                moved[member_key] = moved.get(member_key, 0) + 1
        after = msgspec.structs.replace(after, users=count)
        sizes = {key: self._sizes.get(key, 0) + change for key, change in moved.items() if change}
        for key, size in sizes.items():
            if size > 0:
                puts.append((members.size_key(key), members.encode_number(size)))
            else:
                deletes.append(members.size_key(key))
        puts.append((meta.KEY, meta.encode(after)))
        self._kv.write(puts, deletes)
        self._meta = after
        if sizes:  # a new dict: another thread may be reading the old one
            self._sizes = {key: size for key, size in {**self._sizes, **sizes}.items() if size > 0}

    def due(self, lower: bytes, upto: int, limit: int) -> list[tuple[int, str]]:
        """At most `limit` timers (due, user) from the key `lower` on that are due at or before `upto`, in the order of time."""
        rows = self._kv.scan(lower, timers.bound(upto + 1), limit)
        return [timers.parse(key) for key, _ in rows]

    def first_due(self, lower: bytes) -> int:
        """The earliest due time from the key `lower` on; NEVER when there is none."""
        rows = self._kv.scan(lower, _TIMERS_END, 1)
        return timers.parse(rows[0][0])[0] if rows else NEVER

    def members(self, segment: str, position: tuple[str, str] | None, limit: int) -> list[tuple[str, str, int]]:
        """At most `limit` (member key, user, since) of a segment and all its values, behind `position` (member key, user)."""
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

    def page(self, after_user: str | None, limit: int) -> list[tuple[str, StoredUser]]:
        """At most `limit` users behind `after_user` (None: from the first), in the order of their bytes."""
        lower = users.PREFIX if after_user is None else users.key(after_user) + b"\x00"
        return [(users.user_of(key), users.decode(value)) for key, value in self._kv.scan(lower, users.UPPER, limit)]

    def wipe(self) -> None:
        """Removes everything."""
        self._kv.clear()
        self._meta = Meta()
        self._sizes = {}

    def close(self) -> None:
        """Lets go of the folder; no call may follow."""
        self._kv.close()


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
    user: str, raw: bytes | None, armed_before: int, armed: int, old: Mapping[str, int], new: Mapping[str, int], is_new: bool
) -> UserWrite:
    """The rows of one user whose members (member key → since) were `old` and are `new`."""
    if old == new:
        return UserWrite(user, raw, armed_before, armed, (), (), (), is_new)
    left = [key for key in old if key not in new]
    joined = [(key, since) for key, since in new.items() if old.get(key) != since]
    return UserWrite(user, raw, armed_before, armed, left, joined, [key for key in new if key not in old], is_new)
