"""The definitions that come with hyperseg: all packs load beside each other, and every case written
for them comes out."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from app.domain.options import EngineOptions
from app.rules.definitions import load_folder, load_texts
from app.rules.model import Definitions
from app.rules.plan import compile_plan
from app.testing.cases import Case, find_files, read_file
from app.testing.suite import run_suite

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "segments"
PACKS = sorted(path for path in (SHOP / "packs").iterdir() if path.is_dir())
FOLDERS = [SHOP, *PACKS]
OPTIONS = EngineOptions()
PREFIX = {  # of the names in a pack, where it is not the pack's name
    "cart_and_browse_abandonment": "abandon",
    "price_sensitivity": "price",
    "category_affinity": "affinity",
    "win_back": "winback",
    "b2b_trial_activation": "trial",
}
RFM = {
    *("champions", "loyal_customers", "potential_loyalists", "new_customers", "promising", "need_attention"),
    *("about_to_sleep", "at_risk", "cannot_lose_them", "hibernating", "lost"),
}


def by_name(folder: Path) -> str:
    return folder.name


@cache
def loaded(folder: Path) -> Definitions:
    definitions = load_folder(folder, OPTIONS)
    assert not definitions.errors, [str(error) for error in definitions.errors]
    return definitions


@cache
def cases(folder: Path) -> list[Case]:
    return [case for file in find_files(folder) for case in read_file(file, OPTIONS)]


def together() -> Definitions:
    files = [path for folder in FOLDERS for path in sorted(folder.glob("*.yaml")) if ".test." not in path.name]
    return load_texts([(path.name, path.read_text(encoding="utf-8")) for path in files], OPTIONS)


@pytest.mark.parametrize("folder", FOLDERS, ids=by_name)
def test_every_case_comes_out(folder: Path) -> None:
    failed = {outcome.case.name: outcome.diff for outcome in run_suite(folder, OPTIONS) if not outcome.passed}
    assert failed == {}


def test_all_packs_and_the_shop_load_together() -> None:
    definitions = together()
    assert [str(error) for error in definitions.errors] == []
    assert sum(len(loaded(folder).segments) for folder in FOLDERS) == len(definitions.segments)
    compile_plan(definitions, OPTIONS)


def test_the_packs_are_those_expected() -> None:
    assert {path.name for path in PACKS} == {"rfm", "lifecycle", "engagement", "vip", *PREFIX}
    assert {f"rfm_{name}" for name in RFM} <= {segment.name for segment in loaded(SHOP / "packs/rfm").segments}


@pytest.mark.parametrize("folder", FOLDERS, ids=by_name)
def test_every_segment_and_group_is_described(folder: Path) -> None:
    definitions = loaded(folder)
    for item in (*definitions.segments, *definitions.groups):
        assert item.title, item.name
        assert item.description.endswith("."), item.name
        assert folder == SHOP or PREFIX.get(folder.name, folder.name) in item.name, "a pack's names say which pack"


@pytest.mark.parametrize("folder", FOLDERS, ids=by_name)
def test_every_segment_and_group_is_tested(folder: Path) -> None:
    definitions, written = loaded(folder), cases(folder)
    told = {name for case in written for change in case.changes for name in (change.name, change.from_, change.to)}
    named = {name for case in written for name in case.of or ()}
    assert {segment.name for segment in definitions.segments} <= told | named
    assert {group.name for group in definitions.groups} <= told
