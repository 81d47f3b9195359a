"""Every setting, and the only place that reads the environment.

A value comes from, weakest first: the field's default, `hyperseg.yaml` (or the file named by
`--config` or `HYPERSEG_CONFIG`), `HYPERSEG_<NAME>` in the environment, a flag. Names are the same
everywhere; a duration may be written with or without `_ms`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from app.broker.security import Security, parse_bootstrap
from app.domain import limits
from app.domain.errors import UsageError
from app.domain.options import EngineOptions
from app.domain.streams import DEFAULT_STREAMS, Stream, with_declared
from app.domain.time import whole_ms
from app.settings.errors import explain, refuse_unknown

ENV_PREFIX = "HYPERSEG_"
DEFAULT_FILE = "hyperseg.yaml"
_CONFIG_ENV = "HYPERSEG_CONFIG"
_STREAM_NAME = rf"[a-z][a-z0-9_]{{0,{limits.SEGMENT_NAME_CHARS_MAX - 1}}}"
_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"


def parse_duration(value: object) -> int:
    """Milliseconds of `500ms`, `30s`, `5m`, `1h`, `7d`, `4w`, or of a bare integer; raises
    ValueError for anything else."""
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    ms = whole_ms(f"{text}ms" if text.isdecimal() else text)
    if ms is None:
        raise ValueError("expected a duration such as 500ms, 30s, 5m, 1h or 7d, or whole milliseconds")
    return ms


DurationMs = Annotated[int, BeforeValidator(parse_duration)]
Topic = Annotated[str, Field(pattern=_TOPIC)]


class DeclaredStream(BaseModel):
    """A behaviour stream beside the built-in ones."""

    model_config = {"extra": "forbid", "frozen": True}
    topic: Topic = Field(description="The topic it comes from.")


class Settings(BaseSettings):
    """All settings of one process, checked and frozen."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENV_PREFIX,
        env_prefix_target="all",
        alias_generator=AliasGenerator(validation_alias=lambda name: AliasChoices(name.removesuffix("_ms"), name)),
        populate_by_name=True,
    )

    # --- broker and topics
    broker: str = Field(
        "embedded://", description="embedded:// (in this process, for trying) or kafka://host:9092,host2:9092"
    )
    app_id: Topic = Field("hyperseg", description="Consumer group and prefix of transactional ids: one a deployment.")
    topic_prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,100}$", description="Put before every topic's name.")
    clicks_topic: Topic = Field("clicks", description="Topic of the stream `click`.")
    carts_topic: Topic = Field("carts", description="Topic of the stream `cart`.")
    purchases_topic: Topic = Field("purchases", description="Topic of the stream `purchase`.")
    profiles_topic: Topic = Field("profiles", description="Topic of the stream `profile`.")
    streams: dict[str, DeclaredStream] = Field(
        {}, description="More behaviour streams: {email: {topic: email-events}}."
    )
    changes_topic: Topic = Field("segment-changes", description="Where changes of membership are written.")
    dead_letters_topic: Topic = Field(
        "dead-letters", description="Where records that do not fit are kept, byte for byte."
    )
    changelog_topic: str = Field("", description="Compacted: the users' state. Empty: APP_ID-users-changelog.")
    partitions: int = Field(
        4, ge=1, le=10_000, description="Partitions of each user-keyed topic when hyperseg creates it."
    )
    replication: int = Field(1, ge=1, le=15, description="Replicas of each topic when hyperseg creates it.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="As Kafka calls it."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="As Kafka calls it."
    )
    sasl_username: str = Field("", description="User name for SASL.")
    sasl_password: SecretStr = Field(SecretStr(""), description="Password for SASL.")
    ssl_cafile: str = Field("", description="PEM file of the authorities to trust; empty: the system's.")
    ssl_certfile: str = Field("", description="PEM file of the client's certificate; empty: none.")
    ssl_keyfile: str = Field("", description="PEM file of the client's key; empty: none.")
    session_timeout_ms: DurationMs = Field(
        30_000, ge=1_000, description="Silence after which the group takes a worker for dead."
    )
    heartbeat_interval_ms: DurationMs = Field(3_000, ge=100, description="How often a worker tells the group it lives.")
    rebalance_timeout_ms: DurationMs = Field(
        60_000, ge=1_000, description="Longest a rebalance waits for a worker to let go."
    )
    transaction_timeout_ms: DurationMs = Field(
        60_000, ge=1_000, description="The broker aborts a transaction open for longer."
    )

    # --- time
    clock: Literal["wall", "events"] = Field(
        "wall", description="Does time pass in silence (wall) or only with events (events)?"
    )
    wall_grace_ms: DurationMs = Field(
        500, description="With `clock: wall` the watermark stays this far behind the wall clock."
    )
    allowed_lateness_ms: DurationMs = Field(
        limits.HOUR_MS, description="Events further behind the watermark are refused: too_late."
    )
    max_future_ms: DurationMs = Field(
        5 * limits.MINUTE_MS, description="Events further ahead of the wall clock are refused: in_future."
    )
    dedupe_window_ms: DurationMs = Field(limits.DAY_MS, description="How long an event id is remembered for one user.")
    dedupe_ids_max: int = Field(
        limits.DEDUPE_IDS_MAX, ge=0, le=100_000, description="Most event ids remembered for one user."
    )
    session_gap_ms: DurationMs = Field(30 * limits.MINUTE_MS, ge=1, description="Silence that ends a session.")
    timezone: str = Field("UTC", description="IANA zone of calendar windows: today, this week, hour().")
    retention_ms: DurationMs = Field(
        limits.WINDOW_MS_MAX, ge=limits.HOUR_MS, description="Users idle for longer, members of nothing, go."
    )

    # --- work
    guarantee: Literal["exactly_once", "at_least_once"] = Field(
        "exactly_once", description="Are changes written in transactions?"
    )
    commit_interval_ms: DurationMs = Field(50, ge=1, le=60_000, description="Longest a change waits for its commit.")
    commit_events: int = Field(
        5_000, ge=1, le=1_000_000, description="Events after which a commit does not wait for the interval."
    )
    cache_entries: int = Field(
        50_000, ge=1, description="Decoded users kept in memory, over all partitions of a worker."
    )
    fetch_buffer_records: int = Field(
        20_000, ge=1, description="Records of one partition buffered before fetching pauses."
    )
    max_points: int = Field(
        limits.MAX_POINTS, ge=2, le=1_000_000, description="Entries one windowed signal keeps for one user."
    )
    reorder_events_max: int = Field(
        limits.REORDER_EVENTS_MAX, ge=0, le=100_000, description="Recent events kept for late ones, a user."
    )

    # --- places
    data_dir: str = Field("data", description="Folder of state that can be rebuilt, and of the local broker.")
    cache_dir: str = Field(
        "~/.cache/hyperseg", description="Folder of what is fetched once: Apache Kafka for `hyperseg broker`."
    )
    segments_dir: str = Field("segments", description="Folder of the segment definitions.")
    web_host: str = Field("127.0.0.1", description="Address the worker's HTTP listens on.")
    web_port: int = Field(8787, ge=0, le=65_535, description="Port the worker's HTTP listens on; 0 takes a free one.")
    web_advertise: str = Field("", description="URL other workers reach this one by; empty: http://WEB_HOST:WEB_PORT.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log event that is written."
    )
    log_json: bool = Field(False, description="One JSON object a log line instead of text.")

    @field_validator("broker")
    @classmethod
    def _broker(cls, value: str) -> str:
        if value not in ("embedded://", "embedded"):
            parse_bootstrap(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (
            KeyError,
            ValueError,
            OSError,
        ) as error:  # zoneinfo answers with any of them, by how the zone is unknown
            raise ValueError("expected an IANA time zone such as UTC or Europe/Berlin") from error
        return value

    @field_validator("streams")
    @classmethod
    def _streams(cls, value: dict[str, DeclaredStream]) -> dict[str, DeclaredStream]:
        taken = {stream.name for stream in DEFAULT_STREAMS} | {"identity", "erasure"}
        for name in value:
            if not re.fullmatch(_STREAM_NAME, name) or name in taken:
                raise ValueError(f"a stream's name is [a-z][a-z0-9_]* and not built in: found {name!r}")
        return value

    @field_validator("heartbeat_interval_ms")
    @classmethod
    def _heartbeat(cls, value: int, info: ValidationInfo) -> int:
        session = info.data.get("session_timeout_ms", value * 3)
        if value * 3 > session:
            raise ValueError("expected at most a third of session_timeout, so that one lost heartbeat is no death")
        return value

    @model_validator(mode="before")
    @classmethod
    def _changelog(cls, given: dict[str, Any]) -> dict[str, Any]:
        # Two deployments on one broker must not share a changelog because nobody thought of its
        # name.
        return given | {
            "changelog_topic": given.get("changelog_topic") or f"{given.get('app_id', 'hyperseg')}-users-changelog"
        }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)

    @property
    def embedded(self) -> bool:
        """Is the broker the one in this process?"""
        return self.broker.startswith("embedded")

    @property
    def bootstrap(self) -> str:
        """`host:port,host:port` of the broker; raises UsageError for the embedded one, whose
        address is known once it runs."""
        if self.embedded:
            raise UsageError(
                "broker: embedded:// has no address of its own; name a broker with --broker kafka://HOST:PORT"
            )
        return parse_bootstrap(self.broker)

    def topic(self, name: str) -> str:
        """The full name, prefix included, of the topic that the setting `<name>_topic` names."""
        return self.topic_prefix + str(getattr(self, f"{name}_topic"))

    def input_streams(self) -> tuple[Stream, ...]:
        """The built-in streams and the declared ones, with their full topics, in the order of
        ties."""
        own = {
            "profile": self.profiles_topic,
            "click": self.clicks_topic,
            "cart": self.carts_topic,
            "purchase": self.purchases_topic,
        }
        built_in = [Stream(s.name, self.topic_prefix + own[s.name], s.rank, s.behaviour) for s in DEFAULT_STREAMS]
        return with_declared({name: self.topic_prefix + s.topic for name, s in self.streams.items()}, built_in)

    def engine_options(self) -> EngineOptions:
        """What the engine is told of this deployment."""
        return EngineOptions(
            streams=self.input_streams(),
            timezone=self.timezone,
            session_gap_ms=self.session_gap_ms,
            allowed_lateness_ms=self.allowed_lateness_ms,
            max_future_ms=self.max_future_ms,
            dedupe_window_ms=self.dedupe_window_ms,
            dedupe_ids_max=self.dedupe_ids_max,
            max_points=self.max_points,
            reorder_events_max=self.reorder_events_max,
        )

    def security(self) -> Security:
        """How clients reach the broker."""
        return Security(
            protocol=self.security_protocol,
            mechanism=self.sasl_mechanism,
            username=self.sasl_username,
            password=self.sasl_password.get_secret_value(),
            cafile=self.ssl_cafile,
            certfile=self.ssl_certfile,
            keyfile=self.ssl_keyfile,
        )


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this process. `flags` are those given on the command line (None means not
    given); `config` names the file.

    Raises UsageError, in one line, for a name that is no setting or a value that does not fit; a
    secret is never part of it.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    path = _config_file(given.pop("config", None))
    env = {name[len(ENV_PREFIX) :].lower(): name for name in os.environ if _is_ours(name)}
    refuse_unknown({name: f"flag {name}" for name in given}, Settings.model_fields)
    refuse_unknown(
        {bare: f"environment variable {name}" for bare, name in env.items()}, Settings.model_fields, ENV_PREFIX
    )

    class Loaded(Settings):
        model_config = SettingsConfigDict(yaml_file=path)

    try:
        return Loaded(**given)
    except ValidationError as error:
        raise UsageError(explain(error, Settings.model_fields, given, env, str(path or DEFAULT_FILE))) from None
    except SettingsError as error:
        raise UsageError(f"environment: {error}; expected JSON for a setting that is a mapping") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}; mend the file") from None
    except (TypeError, ValueError):  # the YAML source's answer to a list or a bare word
        raise UsageError(
            f"{path}: expected names and values (name: value), found something else; mend the file"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read: {error.strerror}; mend its rights or name another with --config"
        ) from None


def parse_set(texts: Iterable[str]) -> dict[str, Any]:
    """Flags given as `--set NAME=VALUE`: a mapping as YAML, everything else as text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {name}: expected NAME=VALUE")
        found[name.strip().replace("-", "_")] = yaml.safe_load(value) if value.startswith("{") else value
    return found


def _config_file(flag: object) -> Path | None:
    named = flag or os.environ.get(_CONFIG_ENV)
    if not named:
        default = Path(DEFAULT_FILE)
        return default if default.is_file() else None
    if not (path := Path(str(named))).is_file():
        raise UsageError(
            f"{path}: the settings file named by {'--config' if flag else _CONFIG_ENV} does not exist; mend the path"
        )
    return path


def _is_ours(name: str) -> bool:
    return name.upper().startswith(ENV_PREFIX) and name.upper() != _CONFIG_ENV
