"""How clients reach a broker: its address, and TLS or a password where it asks for them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/,@]+)(?::(\d{1,5}))?")
_KAFKA_PORT = 9092


@dataclass(frozen=True, slots=True)
class Security:
    """What a Kafka client needs beside the address; the default is a plain connection.

    `protocol` is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; `mechanism` PLAIN, SCRAM-SHA-256 or
    SCRAM-SHA-512. `cafile`, `certfile` and `keyfile` are paths of PEM files, empty where the
    system's certificates or none are meant.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str = ""
    password: str = field(default="", repr=False)
    cafile: str = ""
    certfile: str = ""
    keyfile: str = ""

    @property
    def tls(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def sasl(self) -> bool:
        return self.protocol.startswith("SASL")

    def aiokafka_options(self) -> dict[str, Any]:
        """Keyword arguments for aiokafka's consumer, producer and admin client."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.tls:
            from aiokafka.helpers import create_ssl_context

            options["ssl_context"] = create_ssl_context(
                cafile=self.cafile or None, certfile=self.certfile or None, keyfile=self.keyfile or None
            )
        if self.sasl:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options

    def librdkafka_options(self) -> dict[str, Any]:
        """Configuration for the confluent-kafka clients."""
        options: dict[str, Any] = {"security.protocol": self.protocol}
        files = {
            "ssl.ca.location": self.cafile,
            "ssl.certificate.location": self.certfile,
            "ssl.key.location": self.keyfile,
        }
        if self.tls:
            options |= {name: path for name, path in files.items() if path}
        if self.sasl:
            options |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        return options


def parse_bootstrap(broker: str) -> str:
    """`host:port,host:port` of `kafka://host:port,host`; raises ValueError for anything else."""
    scheme, _, rest = broker.partition("://")
    hosts = [_HOST.fullmatch(host.strip()) for host in rest.split(",")]
    if scheme != "kafka" or not all(hosts):
        raise ValueError("expected embedded:// or kafka://host:9092,host2:9092")
    return ",".join(f"{host[1]}:{host[2] or _KAFKA_PORT}" for host in hosts if host)
