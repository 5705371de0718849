"""The Dockerfile, read as Docker would read it: what each stage is, who runs in it, and that what it copies is there."""

import json
import re
import shlex
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatch

from tests.deploy.kustomize import build, containers
from tests.deploy.manifests import DEPLOY, ROOT

Instruction = tuple[str, str]


@dataclass
class Stage:
    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == word]


def instructions() -> list[Instruction]:
    lines = (
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")
    )
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def stages() -> dict[str, Stage]:
    """By name, in order; their bases by ARG's default."""
    found: dict[str, Stage] = {}
    defaults: dict[str, str] = {}
    for word, rest in instructions():
        if word == "ARG" and not found:
            name, _, value = rest.partition("=")
            defaults[name] = value
        elif word == "FROM":
            base, _, name = re.sub(r"\$\{(\w+)\}", lambda m: defaults[m[1]], rest).partition(" AS ")
            found[name] = Stage(name, base)
        else:
            list(found.values())[-1].instructions.append((word, rest))
    return found


def lineage(stage: Stage) -> list[Stage]:
    """From the first on: what an image is made of."""
    parent = stages().get(stage.base)
    return [*(lineage(parent) if parent else ()), stage]


def within(stage: Stage, word: str) -> list[str]:
    return [rest for part in lineage(stage) for rest in part.all(word)]


def sources(stage: Stage) -> list[str]:
    """What its COPY instructions take from the repository."""
    copies = [shlex.split(rest) for rest in stage.all("COPY")]
    return [source for words in copies if not words[0].startswith("--from=") for source in words[:-1]]


def test_it_builds_what_runs_from_a_stage_of_its_own() -> None:
    """The last stage is what `docker build` makes; the compiler stays behind."""
    every = stages()
    assert list(every) == ["build", "runtime", "demo", "tidegate"]
    assert any("gcc" in rest for rest in every["build"].all("RUN"))
    for image in ("demo", "tidegate"):
        assert within(every[image], "RUN") == []
        assert [part.name for part in lineage(every[image])] == ["runtime", image]
    assert every["runtime"].all("COPY") == ["--from=build /opt/tidegate /opt/tidegate"]


def test_nobody_is_root() -> None:
    """The same number as in the manifests, so that runAsNonRoot can be checked without a name."""
    for image in ("demo", "tidegate"):
        assert within(stages()[image], "USER") == ["65532:65532"]


def test_every_source_exists_and_is_sent_to_the_builder() -> None:
    """`.dockerignore` leaves out whatever it does not name."""
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    sent = {line[1:] for line in lines if line.startswith("!")}
    used = {source for stage in stages().values() for source in sources(stage)}
    assert used == sent
    assert [source for source in used if not (ROOT / source).exists()] == []


def test_python_is_one_that_the_project_supports() -> None:
    """The same in both stages: the environment is copied as it is."""
    every = stages()
    (version,) = {every["build"].base, every["runtime"].base}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert fnmatch(version, "python:3.*-slim")
    assert f"Programming Language :: Python :: {version[7:-5]}" in project["classifiers"]


def test_the_wheel_is_made_as_make_compiled_makes_it() -> None:
    """With machine code, and packages at the versions that were checked."""
    (wheel,) = (run for run in stages()["build"].all("RUN") if "pip wheel" in run)
    makefile = (ROOT / "Makefile").read_text()
    assert wheel.startswith(
        "HATCH_BUILD_HOOKS_ENABLE=1 PIP_CONSTRAINT=/src/constraints.txt pip wheel --no-deps"
    )
    assert re.search(r"HATCH_BUILD_HOOKS_ENABLE=1 PIP_CONSTRAINT=\S+constraints.txt", makefile)
    needed = re.search(r"cp -r (.*) \$\(COMPILED\)\n\t\$\(PYTHON\)", makefile)
    assert needed is not None
    assert set(needed[1].split()) == set(sources(stages()["build"]))


def test_only_what_runs_is_installed() -> None:
    """The package with the one extra that a cluster needs."""
    (install,) = (run for run in stages()["build"].all("RUN") if "install --no-compile" in run)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert re.findall(r"\[(\w+)\]", install) == ["kubernetes"]
    assert "kubernetes" in extras
    assert "-c constraints.txt" in install


def test_the_image_runs_what_the_manifests_name() -> None:
    """And shows the ports that they use."""
    stage = stages()["tidegate"]
    assert [json.loads(rest) for rest in stage.all("ENTRYPOINT")] == [["tidegate"]]
    (deployment,) = (obj for obj in build(DEPLOY / "base") if obj["kind"] == "Deployment")
    ports = {
        str(port["containerPort"]) for container in containers(deployment) for port in container["ports"]
    }
    assert set(" ".join(stage.all("EXPOSE")).split()) == ports
    demo = json.loads(*stages()["demo"].all("ENTRYPOINT"))
    model, *_ = (obj for obj in build(DEPLOY / "examples/first-model") if obj["kind"] == "Deployment")
    assert containers(model)[0]["command"] == demo
