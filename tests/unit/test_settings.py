"""Settings: sources and their order, names, durations, what is said of wrong ones, and that secrets
stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.broker.security import parse_bootstrap
from app.domain.errors import UsageError
from app.settings import Settings, load_settings, parse_set
from app.settings.settings import parse_duration


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and an environment without hyperseg's variables."""
    import os

    for name in [name for name in os.environ if name.upper().startswith("HYPERSEG_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults_are_those_documented() -> None:
    settings = load_settings()
    assert settings.embedded
    assert (settings.app_id, settings.changelog_topic, settings.partitions) == (
        "hyperseg",
        "hyperseg-users-changelog",
        4,
    )
    assert (settings.wall_grace_ms, settings.allowed_lateness_ms, settings.max_future_ms) == (500, 3_600_000, 300_000)
    assert (settings.dedupe_window_ms, settings.session_gap_ms, settings.commit_interval_ms) == (
        86_400_000,
        1_800_000,
        50,
    )
    assert (settings.web_host, settings.web_port, settings.clock, settings.guarantee) == (
        "127.0.0.1",
        8787,
        "wall",
        "exactly_once",
    )


def test_flags_beat_the_environment_which_beats_the_file(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "hyperseg.yaml").write_text("partitions: 8\nweb_port: 1\nsession_gap: 45m\n")
    monkeypatch.setenv("HYPERSEG_WEB_PORT", "2")
    monkeypatch.setenv("HYPERSEG_CLOCK", "events")
    settings = load_settings({"clock": "wall", "broker": None})
    assert (settings.partitions, settings.web_port, settings.clock, settings.session_gap_ms) == (
        8,
        2,
        "wall",
        2_700_000,
    )


def test_the_file_may_be_named_by_a_flag_or_by_the_environment(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "a.yaml").write_text("app_id: a\n")
    (nowhere / "b.yaml").write_text("app_id: b\n")
    monkeypatch.setenv("HYPERSEG_CONFIG", "a.yaml")
    assert load_settings().app_id == "a"
    assert load_settings({"config": "b.yaml"}).app_id == "b"
    with pytest.raises(UsageError, match=r"c\.yaml.*--config does not exist"):
        load_settings({"config": "c.yaml"})


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("7d", 604_800_000),
        ("2w", 1_209_600_000),
        (12, 12),
    ],
)
def test_durations(text: object, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "1.5h", "-1s", "h", "1 h", "1y", True, None, 1.5, "1h30m"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


def test_durations_may_be_spelled_with_their_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSEG_MAX_FUTURE_MS", "10")
    assert load_settings({"allowed_lateness": "2h"}).allowed_lateness_ms == 7_200_000
    assert load_settings({"allowed_lateness_ms": 7}).allowed_lateness_ms == 7
    assert load_settings().max_future_ms == 10


def test_addresses() -> None:
    assert parse_bootstrap("kafka://a:1,b,[::1]:9") == "a:1,b:9092,[::1]:9"
    assert load_settings({"broker": "kafka://h"}).bootstrap == "h:9092"
    with pytest.raises(UsageError, match="no address of its own"):
        _ = load_settings().bootstrap


@pytest.mark.parametrize("broker", ["localhost:9092", "http://x:1", "kafka://", "kafka://a:b", "kafka://user@h:1"])
def test_what_is_no_address(broker: str) -> None:
    with pytest.raises(UsageError, match="flag broker: broker is wrong: expected embedded://"):
        load_settings({"broker": broker})


def test_unknown_names_are_refused_with_a_suggestion(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="flag partition: no such setting; did you mean partitions"):
        load_settings({"partition": 3})
    (nowhere / "hyperseg.yaml").write_text("alowed_lateness: 3h\n")
    with pytest.raises(
        UsageError, match=r"hyperseg\.yaml: alowed_lateness is no setting; did you mean allowed_lateness\?"
    ):
        load_settings()
    monkeypatch.setenv("HYPERSEG_WEBPORT", "1")
    with pytest.raises(
        UsageError, match="environment variable HYPERSEG_WEBPORT: no such setting; did you mean HYPERSEG_WEB_PORT"
    ):
        load_settings()


def test_values_are_refused_where_they_came_from(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "hyperseg.yaml").write_text("timezone: Mars/Olympus\n")
    with pytest.raises(
        UsageError, match=r"^hyperseg\.yaml: timezone is wrong: expected an IANA time zone .*found 'Mars/Olympus'"
    ):
        load_settings()
    monkeypatch.setenv("HYPERSEG_TIMEZONE", "UTC")
    monkeypatch.setenv("HYPERSEG_SESSION_GAP", "soon")
    with pytest.raises(
        UsageError, match=r"^environment variable HYPERSEG_SESSION_GAP: .*expected a duration.*found 'soon'"
    ):
        load_settings()
    assert UsageError.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "expected names and values"),
        ("a: [\n", "not YAML"),
        ("streams: {click: {topic: x}}\n", "not built in"),
    ],
)
def test_a_wrong_file_is_refused(nowhere: Path, text: str, said: str) -> None:
    (nowhere / "hyperseg.yaml").write_text(text)
    with pytest.raises(UsageError, match=said):
        load_settings()


def test_an_empty_file_is_no_error(nowhere: Path) -> None:
    (nowhere / "hyperseg.yaml").write_text("# nothing yet\n")
    assert load_settings().partitions == 4


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSEG_SASL_PASSWORD", "hunter2")
    settings = load_settings({"security_protocol": "SASL_SSL", "sasl_username": "me"})
    assert "hunter2" not in repr(settings) + str(settings.model_dump()) + settings.model_dump_json() + repr(
        settings.security()
    )
    assert settings.security().password == "hunter2"
    assert settings.security().librdkafka_options()["sasl.password"] == "hunter2"


def test_a_wrong_secret_is_not_quoted(nowhere: Path) -> None:
    (nowhere / "hyperseg.yaml").write_text("sasl_password: [hunter2]\n")
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
    assert "sasl_password" in str(caught.value)


def test_streams_and_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSEG_STREAMS", '{"email": {"topic": "email-events"}}')
    settings = load_settings({"topic_prefix": "eu.", "clicks_topic": "views"})
    assert [(s.name, s.topic, s.rank, s.behaviour) for s in settings.input_streams()] == [
        ("profile", "eu.profiles", 0, False),
        ("click", "eu.views", 1, True),
        ("cart", "eu.carts", 2, True),
        ("purchase", "eu.purchases", 3, True),
        ("email", "eu.email-events", 4, True),
    ]
    assert settings.topic("changes") == "eu.segment-changes"
    assert settings.engine_options().streams == settings.input_streams()


def test_streams_in_the_environment_must_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSEG_STREAMS", "email")
    with pytest.raises(UsageError, match="streams"):
        load_settings()


def test_the_changelog_is_named_after_the_application() -> None:
    assert load_settings({"app_id": "shop"}).changelog_topic == "shop-users-changelog"
    assert load_settings({"app_id": "shop", "changelog_topic": "mine"}).changelog_topic == "mine"


def test_a_heartbeat_fits_its_session() -> None:
    with pytest.raises(UsageError, match="at most a third of session_timeout"):
        load_settings({"heartbeat_interval": "9s", "session_timeout": "10s"})


def test_set_flags() -> None:
    assert parse_set(["web-port=1", "streams={email: {topic: e}}"]) == {
        "web_port": "1",
        "streams": {"email": {"topic": "e"}},
    }
    with pytest.raises(UsageError, match="expected NAME=VALUE"):
        parse_set(["web_port"])


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
