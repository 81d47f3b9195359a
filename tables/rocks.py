"""RocksDB as a `Kv`: the options that bound its memory, and a close that truly lets go of the
folder.

What rocksdict leaves at its defaults would cost, for each partition, a block cache of its own, 3 ×
64 MiB of memtables and as many open files as the hard limit allows. Here one block cache serves all
partitions of the process.

There is no write-ahead log: the changelog is one, and a store that lost its last memtable is merely
behind it. What survives a crash is always a prefix of the writes, the row that says how far the
store is included, because all rows are in one column family.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, ReadOptions, WriteBatch, WriteOptions

from app.domain.errors import Unreachable
from tables.kv import Put, Row

BLOCK_CACHE_BYTES = 128 * 1024 * 1024  # of the whole process: about 400,000 states of 300 bytes
MEMTABLE_BYTES = 16 * 1024 * 1024
MEMTABLES_MAX = 3  # of one partition: 48 MiB at the most
# Of one partition; a level-compacted store of 50 GiB has about 800 files and keeps the hot ones
# open.
OPEN_FILES_MAX = 256
FLUSH_EVERY_S = 600.0  # well within the day for which a changelog keeps tombstones
_BLOCK_BYTES = 8 * 1024  # some 20 states: small enough that a cold read is one disk block or two
_BLOOM_BITS = 10  # 1 % false positives: a new user costs no disk read


_NO_WAL = WriteOptions()
_NO_WAL.disable_wal = True  # type: ignore[method-assign,assignment]


def shared_cache(capacity_bytes: int = BLOCK_CACHE_BYTES) -> Cache:
    """The block cache that all stores of a process are opened with."""
    return Cache(capacity_bytes)


def _options(cache: Cache) -> Options:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_block_size(_BLOCK_BYTES)
    blocks.set_bloom_filter(_BLOOM_BITS, False)
    blocks.set_cache_index_and_filter_blocks(True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(MEMTABLE_BYTES)
    options.set_max_write_buffer_number(MEMTABLES_MAX)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(2)
    return options


class RocksKv:
    """One folder, opened by one process at a time; raises Unreachable when it cannot be opened."""

    def __init__(self, path: Path, cache: Cache) -> None:
        self._path = path
        self._cache = cache
        self._db = self._open()
        self._flushed_at = time.monotonic()

    def _open(self) -> Rdict:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return Rdict(str(self._path), _options(self._cache))
        except Exception as error:  # rocksdict raises bare Exception for everything RocksDB says
            raise Unreachable(f"store {self._path}: {error}; is another worker using this data directory?") from error

    def get(self, key: bytes) -> bytes | None:
        return self._db.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found: list[bytes | None] = self._db.get(list(keys)) if keys else []  # type: ignore[assignment]
        return found

    def scan(self, lower: bytes, upper: bytes, limit: int) -> list[Row]:
        # The iterator dies with this frame: one that lives on would hold the folder's lock past
        # `close`.
        options = ReadOptions()
        options.set_iterate_upper_bound(upper)
        rows: Any = self._db.iter(options)
        rows.seek(lower)
        found: list[Row] = []
        while len(found) < limit and rows.valid():
            found.append((rows.key(), rows.value()))
            rows.next()
        return found

    def write(self, puts: Sequence[Put], deletes: Sequence[bytes]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key in deletes:
            batch.delete(key)
        for key, value in puts:
            batch.put(key, value)
        self._db.write(batch, _NO_WAL)
        if time.monotonic() - self._flushed_at > FLUSH_EVERY_S:
            self._flushed_at = time.monotonic()
            self._db.flush(wait=False)

    def clear(self) -> None:
        self._db.close()
        shutil.rmtree(self._path, ignore_errors=True)
        self._db = self._open()

    def close(self) -> None:
        self._db.flush()
        self._db.close()
