"""Event files: plain, gzip, zstd, stdin and stdout; what is said of damaged ones."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from app.domain.errors import InputError
from app.offline.eventfiles import open_out, read_lines
from tests.support.absent import shared_data

LINES = [b'{"a":1}', b"", b"\xff not text", b'{"b":2}']


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz", "e.jsonl.zst"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with open_out(path) as out:
        out.writelines(line + b"\n" for line in LINES)
    assert list(read_lines(path)) == LINES


@pytest.mark.parametrize("name", ["e.jsonl.gz", "e.jsonl.zst"])
def test_the_same_lines_give_the_same_file(tmp_path: Path, name: str) -> None:
    written = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        with open_out(tmp_path / folder / name) as out:
            out.write(b"x\n" * 1000)
        written.append((tmp_path / folder / name).read_bytes())
    assert written[0] == written[1]


def test_windows_line_ends_and_a_last_line_without_one(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_bytes(b"a\r\nb")
    assert list(read_lines(tmp_path / "e.jsonl")) == [b"a", b"b"]


def test_files_that_other_tools_appended_to(tmp_path: Path) -> None:
    (tmp_path / "e.gz").write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    compress = zstandard.ZstdCompressor().compress
    (tmp_path / "e.zst").write_bytes(compress(b"a\n") + compress(b"b\n"))
    assert list(read_lines(tmp_path / "e.gz")) == list(read_lines(tmp_path / "e.zst")) == [b"a", b"b"]


def test_stdin_and_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a\nb\n")))
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
    with open_out("-") as file:
        file.writelines(line + b"\n" for line in read_lines("-"))
    assert out.getvalue() == b"a\nb\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("e.gz", b"plain"),
        ("e.gz", gzip.compress(b"a\n" * 9000, mtime=0)[:-20]),
        ("e.zst", b"plain"),
        ("e.gz", gzip.compress(b"abc", mtime=0)[:-6] + b"\x00" * 6),
    ],
    ids=["not gzip", "cut gzip", "not zstd", "gzip with a wrong sum"],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: damaged or not compressed as its name says"):
        list(read_lines(tmp_path / name))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl: no such file or directory; mend the path"):
        list(read_lines(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match="is a directory"):
        list(read_lines(tmp_path))
    with pytest.raises(InputError, match="no such file"), open_out(tmp_path / "no" / "e.jsonl"):
        pass


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_whole_shop_log_is_read_from_a_compressed_file(simulated_log: Path, tmp_path: Path, suffix: str) -> None:
    lines = simulated_log.read_bytes().splitlines()
    with open_out(tmp_path / f"shop.jsonl{suffix}") as out:
        out.writelines(line + b"\n" for line in lines)
    assert list(read_lines(tmp_path / f"shop.jsonl{suffix}")) == lines
    assert len(lines) > 10_000


@pytest.mark.shared_data
def test_a_real_shop_log_is_read_whole() -> None:
    assert sum(1 for line in read_lines(shared_data("retailrocket.jsonl.gz")) if line) == 9_385
