"""`tidegate up` and `tidegate render` on a file of InferenceServices, as people run them."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.eventually import eventually
from tests.integration.running import COMMAND, DEMO, Running, free_port, started

PATH = "/serving/models/iris/v1/models/iris:predict"
BODY = {"instances": [[5.1, 3.5, 1.4, 0.2]]}


def iris(model: str = "v1", **more: Any) -> dict[str, Any]:
    """The demo model server, on a port of its container."""
    words = [word.replace("{port}", "9000") for word in DEMO]
    container = {
        "image": "demo:1",
        "command": words[:2],
        "args": [*words[2:], "--version", model],
        "ports": [{"containerPort": 9000}],
        **more,
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "models"},
        "spec": {"predictor": {"minReplicas": 0, "maxReplicas": 2, "containers": [container]}},
    }


async def predict(running: Running, path: str = PATH, host: str = "localhost") -> tuple[int, str]:
    async with running.session.post(running.url + path, json=BODY, headers={"host": host}) as answer:
        return answer.status, await answer.text()


async def test_an_inference_service_runs_as_processes(tmp_path: Path) -> None:
    """By path and by host; a saved file is taken over, a broken one changes nothing."""
    path, port, admin = tmp_path / "iris.yaml", free_port(), free_port()
    path.write_text(json.dumps(iris()))
    addresses = ("--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--plain")
    async with started(path, port, admin, "up", *addresses) as running:
        status, first = await predict(running)
        assert status == 200
        assert await predict(running, "/v1/models/iris:predict", "iris-models.example.com") == (200, first)

        path.write_text(json.dumps(iris(command=[])))
        await eventually(lambda: "has no `command`" in running.log)
        assert await predict(running) == (200, first)

        (before,) = (await running.state())["backends"]
        path.write_text(json.dumps(iris("v2")))
        await eventually(lambda: "took over" in running.log)
        assert before not in (await running.state())["routes"][0]["split"]
        assert (await predict(running))[0] == 200


def test_render_prints_for_pipes_and_complains_beside(tmp_path: Path) -> None:
    """What becomes of it on standard output, what is refused on standard error, and in the exit code."""
    path = tmp_path / "iris.yaml"
    wrong = iris()
    wrong["metadata"] = {"name": "rose"}
    wrong["spec"]["transformer"] = {}
    path.write_text(f"{json.dumps(iris())}\n---\n{json.dumps(wrong)}")
    command = [*COMMAND, "render", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stdout.startswith("---\n# InferenceService models/iris: Deployment\n")
    assert "rose" not in done.stdout
    assert done.stderr.startswith(
        f"{path}:3 InferenceService default/rose spec.transformer: is not supported"
    )
