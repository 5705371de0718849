"""What each command needs of a configuration, and how a Backend's command is put together."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config import Config, Role, check_role, resolve_command

ONE_MACHINE = (
    "`tidegate up` runs pods on this machine: give the target a `command` beside what it is in the cluster"
)


def problems(config: Config, role: Role) -> list[str]:
    return [str(problem) for problem in check_role(config, role)]


@pytest.mark.parametrize("role", ["up", "gateway", "autoscaler", "check"])
def test_fixed_urls_suit_every_role(loaded: Callable[[str], Config], role: Role) -> None:
    """Somebody else runs them."""
    assert problems(loaded(""), role) == []


@pytest.mark.parametrize("role", ["gateway", "autoscaler"])
def test_commands_are_run_by_up_alone(loaded: Callable[[str], Config], role: Role) -> None:
    """The others say who does."""
    config = loaded("backends:\n  a:\n    target: {command: [python, '{port}']}")
    assert problems(config, role) == [
        f"x.yaml:3 backends.a.target: `tidegate {role}` does not run commands, `tidegate up` does: give the target `urls`, or what it is in a cluster"
    ]
    assert problems(config, "up") == problems(config, "check") == []


def test_what_is_only_in_a_cluster_is_not_for_up(loaded: Callable[[str], Config]) -> None:
    """A gateway and an autoscaler of their own take it."""
    config = loaded("backends: {a: {target: {deployment: d, port: 80}}}")
    assert problems(config, "up") == [f"x.yaml:1 backends.a.target: {ONE_MACHINE}"]
    assert problems(config, "gateway") == problems(config, "autoscaler") == problems(config, "check") == []


def test_a_target_with_both_runs_its_command_under_up(loaded: Callable[[str], Config]) -> None:
    """In a cluster it is a Deployment."""
    config = loaded("backends: {a: {target: {deployment: d, port: 80, command: [python, '{port}']}}}")
    assert problems(config, "up") == problems(config, "gateway") == []


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("[no-such-program, '{port}']", "command 'no-such-program' does not exist on PATH"),
        ("[./run, '{port}']", "command './run' does not exist in {base}"),
        ("[./plain.txt, '{port}']", "command './plain.txt' is not executable in {base}"),
        ("[/no/such, '{port}']", "command '/no/such' does not exist"),
        ("[python, server.py, '{port}']", "command's script 'server.py' does not exist in {base}"),
    ],
)
def test_a_command_that_cannot_run_is_named(
    loaded: Callable[[str], Config],
    tmp_path: Path,
    command: str,
    problem: str,
) -> None:
    """Before anything is started."""
    (tmp_path / "plain.txt").touch()
    config = loaded(f"backends: {{a: {{target: {{command: {command}}}}}}}")
    assert problems(config, "up") == [
        "x.yaml:1 backends.a.target: " + problem.replace("{base}", str(tmp_path))
    ]


def test_a_command_that_can_run_is_found(loaded: Callable[[str], Config], tmp_path: Path) -> None:
    """From the file's folder, on the PATH, on a PATH of its own, or as the interpreter."""
    script = tmp_path / "run"
    script.touch(mode=0o755)
    (tmp_path / "server.py").touch()
    for command in ("[./run, '{port}']", "[sh, '{port}']", "[python, server.py, '{port}']"):
        assert problems(loaded(f"backends: {{a: {{target: {{command: {command}}}}}}}"), "up") == []
    own = f"backends: {{a: {{target: {{command: [run, '{{port}}'], env: {{PATH: {tmp_path}}}}}}}}}"
    assert problems(loaded(own), "up") == []


@pytest.mark.parametrize(
    ("command", "resolved"),
    [
        ("[python, s.py, --port, '{port}']", [sys.executable, "s.py", "--port", "{port}"]),
        ("[./bin/serve, 'p={port},{port}']", ["/base/bin/serve", "p={port},{port}"]),
        ("[/opt/serve, '{port}', '{other}']", ["/opt/serve", "{port}", "{other}"]),
        ("[serve, '{port}']", ["serve", "{port}"]),
    ],
)
def test_a_command_is_put_together(
    loaded: Callable[[str], Config], command: str, resolved: list[str]
) -> None:
    """`python` is this interpreter; programs with a slash start from the folder; the port is left to each pod."""
    backend = loaded(f"backends: {{a: {{target: {{command: {command}}}}}}}").backends["a"]
    assert resolve_command(backend, Path("/base")) == resolved
