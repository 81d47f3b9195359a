"""Event files: JSON Lines, plain or compressed (`.gz`, `.zst` by name), `-` for stdin and stdout.

Lines are handed on as bytes, undecoded: what a line means is for its reader to judge.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import zstandard

from app.domain.errors import InputError

_BUFFER_BYTES = 1 << 20  # decompressors are slow a byte at a time
_ZSTD_LEVEL = 3
_GZIP_LEVEL = 6
STDIO = "-"


def read_lines(path: str | Path) -> Iterator[bytes]:
    """The lines of one file, without their line ends; empty ones too, so that counting gives line
    numbers.

    Raises InputError, naming the file, when it cannot be read or its compression is damaged.
    """
    with _told(path), _reading(path) as file:
        for line in file:
            yield line.rstrip(b"\r\n")


def numbered_lines(files: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """The lines of several files, each behind its place (`shop.jsonl:7`). Raises InputError as
    `read_lines` does."""
    for file in files:
        for number, raw in enumerate(read_lines(file), 1):
            yield f"{file}:{number}", raw


@contextmanager
def open_out(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write lines to. A compressed file is the same bytes for the same lines (no name and
    no time inside)."""
    with _told(path), _writing(path) as file:
        yield file


@contextmanager
def _told(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise InputError(
            f"{path}: damaged or not compressed as its name says: {error}; mend the file or its name"
        ) from error
    except BrokenPipeError:  # the reader of our output has left: the command line's affair
        raise
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}; mend the path") from error


@contextmanager
def _reading(path: str | Path) -> Iterator[IO[bytes]]:
    if str(path) == STDIO:
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as raw:
        yield _decompressed(raw, Path(path).suffix)


def _decompressed(raw: BinaryIO, suffix: str) -> IO[bytes]:
    if suffix == ".gz":
        return io.BufferedReader(gzip.GzipFile(fileobj=raw, mode="rb"), _BUFFER_BYTES)
    if suffix == ".zst":
        return io.BufferedReader(_ZstdReader(raw), _BUFFER_BYTES)
    return raw


class _ZstdReader(io.RawIOBase):
    """Frames one after another; unlike the library's own stream, a file that ends within a frame is
    an error, not its end."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._frame: Any = None
        self._packed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._packed and not (packed := self._raw.read(_BUFFER_BYTES)):
                if self._frame is not None:
                    raise EOFError("it ends within a frame")
                return 0
            self._unpack(self._packed or packed)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _unpack(self, packed: bytes) -> None:
        self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        self._ready = memoryview(self._frame.decompress(packed))
        self._packed = self._frame.unused_data if self._frame.eof else b""
        if self._frame.eof:
            self._frame = None


@contextmanager
def _writing(path: str | Path) -> Iterator[BinaryIO]:
    if str(path) == STDIO:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with Path(path).open("wb") as raw, _compressed(raw, Path(path).suffix) as file:
        yield file


@contextmanager
def _compressed(raw: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    if suffix == ".gz":
        packed: Any = gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0)
    elif suffix == ".zst":
        packed = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(raw, closefd=False)
    else:
        yield raw
        return
    with io.BufferedWriter(packed, _BUFFER_BYTES) as file:
        yield file
