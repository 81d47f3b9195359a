"""The worker of the demonstration: a child process that is loaded while the shop's past is still
being made, and ends with its parent.

    python -m app.demo.worker SETTINGS.yaml

It starts on the first line of its input and ends when the input ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

_PARENT = os.getppid()
_GRACE_S = 3.0


def main(config: str) -> int:
    """Load everything, wait for the word, run. The parent's death closes the input, however it
    died."""
    from app.domain.errors import HypersegError
    from app.main import run_worker
    from app.observability.logs import configure_logs
    from app.settings import Settings, load_settings

    # What the file does not say is as by default, whatever the environment says: the demonstration
    # is the same everywhere.
    given = json.loads(Path(config).read_text(encoding="utf-8"))
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    settings = load_settings({**defaults, **given, "config": config})
    configure_logs(settings.log_level)
    if not sys.stdin.readline():
        return 0
    threading.Thread(target=_end_with_parent, args=(Path(config).parent,), daemon=True).start()
    try:
        return run_worker(settings)
    except HypersegError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _end_with_parent(folder: Path) -> None:
    """A parent that stops in order asks first, and closes the input after; one that died took the
    broker along: nothing can end well."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    if os.getppid() == _PARENT:
        return
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
