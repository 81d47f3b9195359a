"""`python -m tests.mutants [WORD …]`: every mutation (or those whose name has a WORD), what killed
each, exit 1 when one survives.

A mutation whose old text is not in its file exactly once is an error too: the code moved on, the
mutation must follow.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
COPIED = ("app", "tables", "tests", "segments", "pyproject.toml")
TIMEOUT_S = 300
WORKERS = 2


@dataclass(frozen=True)
class Outcome:
    """What happened to one mutation: killed (by what), survived, or could not be planted."""

    mutation: Mutation
    verdict: str
    by: str
    seconds: float


def main(words: list[str]) -> int:
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(WORKERS) as pool:
        slots = [_copy(Path(folder) / str(i)) for i in range(WORKERS)]
        untouched = _run_suite(slots[0])
        if untouched:
            print(f"the suite fails without any mutation: {untouched}", file=sys.stderr)
            return 1
        outcomes = []
        for outcome in pool.map(lambda mutation: _try(mutation, slots), chosen):
            print(f"{outcome.verdict:9} {outcome.seconds:5.1f} s  {outcome.mutation.name:58} {outcome.by}", flush=True)
            outcomes.append(outcome)
    awake = [o for o in outcomes if o.verdict == "killed"]
    print(f"{len(awake)} of {len(outcomes)} mutants killed")
    return 0 if len(awake) == len(outcomes) else 1


def _copy(slot: Path) -> Path:
    slot.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, slot / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, slot / name)
    return slot


def _try(mutation: Mutation, slots: list[Path]) -> Outcome:
    slot, start = slots.pop(), time.monotonic()
    target = slot / mutation.file
    original = target.read_text(encoding="utf-8")
    try:
        found = original.count(mutation.old)
        if found != 1:
            return Outcome(mutation, "LOST", f"old text found {found} times in {mutation.file}", 0)
        target.write_text(original.replace(mutation.old, mutation.new), encoding="utf-8")
        try:
            killer = _run_suite(slot)
        except RuntimeError as error:
            return Outcome(mutation, "UNKNOWN", str(error), time.monotonic() - start)
        return Outcome(mutation, "killed" if killer else "SURVIVED", killer, time.monotonic() - start)
    finally:
        target.write_text(original, encoding="utf-8")
        slots.append(slot)


def _run_suite(slot: Path) -> str:
    """What fails first in the copy, empty when all holds."""
    environment = {**os.environ, "PYTHONPATH": str(slot), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "tests.mutants.hunt"]
    try:
        done = subprocess.run(
            command, cwd=slot, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "a check that never ends"
    if done.returncode < 0:
        raise RuntimeError(f"the hunt was ended by signal {-done.returncode}: that says nothing of the mutant")
    return (
        ""
        if done.returncode == 0
        else done.stdout.strip() or done.stderr.strip()[-200:] or f"exit code {done.returncode}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
