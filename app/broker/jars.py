"""Apache Kafka's program: its jars, copied once by Maven into a cache folder, and the Java that
runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from app.domain.errors import Unreachable

KAFKA_VERSION = "4.1.1"
_LOG4J_VERSION = "2.24.3"  # the one Kafka 4.1.1 is built with
_JAVA_MIN = 17
_FETCH_S = 900
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_POM = f"""<?xml version="1.0" encoding="UTF-8"?>
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>hyperseg</groupId>
  <artifactId>local-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>{_LOG4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


def java() -> str:
    """The path of a Java that can run Kafka; raises Unreachable when there is none or it is too
    old."""
    path = shutil.which("java")
    if path is None:
        raise Unreachable(
            f"local Kafka: java is not on PATH; install Java {_JAVA_MIN} or newer, or use --broker kafka://HOST:PORT"
        )
    found = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', found.stderr + found.stdout)
    if version is None or int(version[1]) < _JAVA_MIN:
        raise Unreachable(
            f"local Kafka: Java {_JAVA_MIN} or newer is needed; {path} is "
            f"{version[1] if version else 'not a working Java'}"
        )
    return path


def fetched(cache: Path) -> Path | None:
    """The folder of the jars if they are in `cache` already."""
    lib = cache / f"kafka-{KAFKA_VERSION}"
    return lib if lib.is_dir() else None


def fetch(cache: Path) -> Path:
    """The folder of the jars, fetched by Maven if they are not in `cache` yet (43 MB, once); raises
    Unreachable when that fails."""
    if (lib := fetched(cache)) is not None:
        return lib
    maven = shutil.which("mvn")
    if maven is None:
        raise Unreachable(
            "local Kafka: mvn is not on PATH; install Maven (it fetches Kafka once), or use --broker kafka://HOST:PORT"
        )
    lib = cache / f"kafka-{KAFKA_VERSION}"
    _make(cache)
    # Into a folder of our own first: a fetch that is cut short, or two at once, never leave half a
    # Kafka under the final name.
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as scratch:
        _copy_dependencies(maven, Path(scratch))
        try:
            (Path(scratch) / "lib").rename(lib)
        except OSError:
            if not lib.is_dir():  # else another process was first, with the same jars
                raise
    return lib


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unreachable(f"{folder}: cannot be created: {error.strerror}; name another folder") from error


def _copy_dependencies(maven: str, scratch: Path) -> None:
    (scratch / "pom.xml").write_text(_POM)
    command = [maven, "--batch-mode", "--quiet", "-f", str(scratch / "pom.xml"), _PLUGIN]
    command += [f"-DoutputDirectory={scratch / 'lib'}", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(
            f"local Kafka: Maven took more than {_FETCH_S} s to fetch Kafka {KAFKA_VERSION}; try again"
        ) from error
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line] or ["no message"]
        raise Unreachable(
            f"local Kafka: Maven could not fetch Kafka {KAFKA_VERSION}: {said[0][:300]}; check its network and settings"
        )
