"""The command line: what it refuses, in how many words, and with which exit code."""

import json
import socket
import subprocess
from pathlib import Path

import pytest

from gateway.config import ConfigError, Role
from gateway.server import load_for
from tests.integration.running import COMMAND, ROOT, tidegate

GOOD = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
backends:
  one:
    target: {command: [python, server.py, --port, "{port}"]}
    queue: {depth: 10, timeout: 5s}
    scale: {min: 0, max: 3}
routes:
  - {name: all, split: {one: 1}}
"""

MISTAKES = {
    "a bad duration": (("timeout: 5s", "timeout: 5 parsecs"), ":6 backends.one.queue.timeout"),
    "a weight to an unknown backend": (("{one: 1}", "{two: 1}"), ":9 routes[0].split"),
    "a duplicate route": (("routes:\n", "routes:\n  - {name: all, split: {one: 1}}\n"), "routes[1]"),
    "a negative bound": (("min: 0", "min: -1"), ":7 backends.one.scale.min"),
    "an unknown key": (("queue:", "qeue:"), "did you mean"),
    "not YAML at all": (("backends:", "\t{[backends"), "config.yaml:3"),
    "a command that does not exist": (("[python,", "[/no/such/program,"), "/no/such/program"),
    "a script that does not exist": (("server.py", "missing.py"), "missing.py"),
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "server.py").write_text("")
    return tmp_path / "config.yaml"


@pytest.mark.parametrize(("change", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_wrong_file_is_refused_with_its_place(path: Path, change: tuple[str, str], says: str) -> None:
    """Each mistake is told with the file, the line and what was wrong there."""
    path.write_text(GOOD.replace(*change, 1))
    with pytest.raises(ConfigError) as refused:
        load_for("up", path)
    lines = [str(problem) for problem in refused.value.problems]
    assert any(line.startswith(f"{path}:") and says in line for line in lines), lines


def test_a_wrong_file_ends_the_command_with_exit_code_2(path: Path) -> None:
    """One line per problem on standard error, no traceback, nothing started."""
    path.write_text(GOOD.replace("min: 0", "min: -1").replace("queue:", "qeue:"))
    done = run("up", str(path))
    assert done.returncode == 2
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == [f"{path}:6", f"{path}:7"]


def test_a_port_in_use_is_one_clear_line_and_exit_code_2(path: Path) -> None:
    """Somebody else listens there: the address is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path.write_text(GOOD.replace("listen: 127.0.0.1:0", f"listen: 127.0.0.1:{port}"))
        done = run("up", str(path))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("role", ["gateway", "autoscaler"])
def test_a_gateway_or_autoscaler_alone_does_not_run_commands(path: Path, role: Role) -> None:
    """The line says which command does."""
    path.write_text(GOOD)
    with pytest.raises(ConfigError, match="`tidegate up` does"):
        load_for(role, path)


def test_a_deployment_is_refused_by_up_alone(path: Path) -> None:
    """A gateway and an autoscaler of their own take it."""
    target = "target: {deployment: one, namespace: models, port: 8080}"
    path.write_text(GOOD.replace('target: {command: [python, server.py, --port, "{port}"]}', target))
    with pytest.raises(ConfigError, match="runs pods on this machine"):
        load_for("up", path)
    roles: tuple[Role, ...] = ("gateway", "autoscaler")
    for role in roles:
        assert load_for(role, path).backends["one"].target.deployment == "one"


def test_check_reports_every_file_and_fails_when_one_is_wrong(path: Path) -> None:
    """Good ones are named as well, so that a person sees what was looked at."""
    path.write_text(GOOD.replace("min: 0", "min: many"))
    good = str(ROOT / "config/demo.yaml")
    done = run("check", good, str(path))
    assert done.returncode == 2
    assert good in done.stdout
    assert f"{path}:7 backends.one.scale.min" in done.stderr


def test_explain_says_that_nobody_answers_at_the_addresses_of_the_configuration(path: Path) -> None:
    """An autoscaler of its own, then `up`; the exit code tells it from a mistake."""
    config = GOOD.replace("admin: 127.0.0.1:0", "admin: 127.0.0.1:1\nautoscaler: {admin: ':2'}")
    path.write_text(config)
    done = run("explain", "one", "--config", str(path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "http://127.0.0.1:2 does not answer (connection refused), and http://127.0.0.1:1 does not answer (connection refused); name "
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--last", "10"), "10 has no unit: write 10s or 10ms"),
        (("--config", "/no/such/file"), "/no/such/file"),
    ],
    ids=["a duration without a unit", "a file that is not there"],
)
def test_explain_refuses_what_it_cannot_use(arguments: tuple[str, str], says: str) -> None:
    """With exit code 2."""
    done = run("explain", "one", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_schema_is_json_schema() -> None:
    """What editors want to complete and check the file with."""
    done = run("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout)["properties"]["routes"]


async def test_of_many_warnings_the_log_tells_some(path: Path) -> None:
    """The rest is counted, and `check` and the state have them all."""
    routes = [
        {"name": f"r{n}", "hosts": [f"h{n}"], "split": {"iris": 1}, "priority": {"header": "x-p"}}
        for n in range(30)
    ]
    config = {"backends": {"iris": {"target": {"urls": ["http://127.0.0.1:9"]}}}, "routes": routes}
    async with tidegate(path.parent, config, command="gateway") as running:
        warned = [line for line in running.log.splitlines() if "WARNING" in line]
        told = (await running.state())["config"]["warnings"]
    assert (len(told), len(warned)) == (30, 21)
    assert warned[-1].endswith(f"10 more like these: `tidegate check {running.path}` tells all")
