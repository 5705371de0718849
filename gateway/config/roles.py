"""What a command of Tidegate needs of a configuration beyond its being valid, and how a Backend's command is put together.

`tidegate up` runs commands on this machine; `gateway` and `autoscaler` on their own leave pods to a cluster.
Problems here are about the machine and the command that is run, so `check`, which may run elsewhere, has none.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from gateway.config.load import Config
from gateway.config.models import BackendConfig
from gateway.config.problems import Problem, show

Role = Literal["up", "gateway", "autoscaler", "check"]


def check_role(config: Config, role: Role) -> list[Problem]:
    """Why `tidegate ROLE` cannot use the configuration; empty when it can."""
    return [config.problem(name, text) for name, text in _refusals(config, role)]


def _refusals(config: Config, role: Role) -> Iterator[tuple[str, str]]:
    for name, backend in config.backends.items():
        target = backend.target
        if role == "check" or target.urls is not None:
            continue
        if role != "up":
            if target.cluster is None:
                yield (
                    name,
                    f"`tidegate {role}` does not run commands, `tidegate up` does: give the target `urls`, or what it is in a cluster",
                )
        elif target.command is None:
            yield (
                name,
                "`tidegate up` runs pods on this machine: give the target a `command` beside what it is in the cluster",
            )
        elif (text := _cannot_run(backend, config.base_dir)) is not None:
            yield name, text


def resolve_command(backend: BackendConfig, base_dir: Path) -> list[str]:
    """The command of a pod, to be run in `base_dir`; `{port}` is left for each pod to put in.

    `python` is the interpreter that runs Tidegate; a program with a slash in it is found from `base_dir`, any other on PATH.
    Arguments stay as they are: the working directory makes them relative to `base_dir`.
    """
    program, *arguments = backend.target.command or ("",)
    if program == "python":
        program = sys.executable
    elif "/" in program:
        program = str(base_dir / program)
    return [program, *arguments]


def _cannot_run(backend: BackendConfig, base_dir: Path) -> str | None:
    program, *arguments = resolve_command(backend, base_dir)
    if shutil.which(program, path=backend.target.env.get("PATH")) is None:
        given = (backend.target.command or ("",))[0]
        place = "on PATH" if "/" not in given else f"in {base_dir}" if not given.startswith("/") else ""
        state = "is not executable" if "/" in given and Path(program).is_file() else "does not exist"
        return f"command {show(given)} {state} {place}".rstrip()
    script = arguments[0] if arguments else ""
    if script.endswith(".py") and not (base_dir / script).is_file():
        return f"command's script {show(script)} does not exist in {base_dir}"
    return None
