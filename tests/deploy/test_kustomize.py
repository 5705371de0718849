"""The builder of `kustomize.py` does what kustomize does, as far as it goes, and refuses the rest."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.kustomize import Object, build, key
from tests.deploy.manifests import KUSTOMIZATIONS, name
from tests.deploy.patches import json_patch, merge
from tests.deploy.strictyaml import documents

COMMAND = next(
    (list(words) for words in (("kustomize", "build"), ("kubectl", "kustomize")) if shutil.which(words[0])),
    None,
)
real = pytest.mark.skipif(
    COMMAND is None, reason="neither kustomize nor kubectl is on the PATH: nothing to compare with"
)

HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
APP = """
apiVersion: v1
kind: Namespace
metadata: {name: old}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: app, namespace: old}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: app}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects:
  - {kind: ServiceAccount, name: app, namespace: old}
  - {kind: ServiceAccount, name: other, namespace: elsewhere}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: old}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
        - {name: a, image: "app:1", args: [one, two], ports: [{containerPort: 80}]}
        - {name: b, image: "other:1"}
"""
EVERYTHING = f"""{HEAD}resources: [app.yaml]
namespace: new
labels: [{{pairs: {{team: blue}}}}]
images: [{{name: app, newName: example.com/app, newTag: "2"}}]
patches:
  - target: {{kind: Deploy.*, name: app}}
    patch: |
      - {{op: add, path: /spec/template/spec/containers/0/args/-, value: three}}
      - {{op: replace, path: /spec/template/spec/containers/1/name, value: c}}
      - {{op: add, path: /metadata/annotations, value: {{}}}}
      - {{op: add, path: /metadata/annotations/example.com~1x, value: some}}
  - patch: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {{name: app, namespace: old}}
      spec:
        replicas: 2
        template:
          spec:
            containers:
              - {{name: sidecar, image: sidecar}}
              - {{name: a, ports: [{{containerPort: 81}}]}}
"""


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for file, text in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def by_key(objects: list[Object]) -> dict[Any, Object]:
    return {key(obj): obj for obj in objects}


def printed(folder: Path) -> dict[Any, Object]:
    """What the real one makes of it."""
    assert COMMAND is not None
    done = subprocess.run([*COMMAND, folder], check=True, capture_output=True, text=True, timeout=30)
    return by_key(documents(done.stdout))


@real
@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=name)
def test_our_folders_come_out_as_with_the_real_one(folder: Path) -> None:
    """Order of objects aside."""
    assert by_key(build(folder)) == printed(folder)


@real
def test_everything_that_it_knows_comes_out_as_with_the_real_one(tmp_path: Path) -> None:
    """Also what our folders do not use yet."""
    folder = write(tmp_path, {"app.yaml": APP, "kustomization.yaml": EVERYTHING})
    assert by_key(build(folder)) == printed(folder)


def test_patches_namespace_labels_and_images(tmp_path: Path) -> None:
    """The same, told here for machines without the real one."""
    folder = write(tmp_path, {"app.yaml": APP, "kustomization.yaml": EVERYTHING})
    namespace, account, binding, app = build(folder)
    assert namespace["metadata"] == {"name": "new", "labels": {"team": "blue"}}
    assert account["metadata"]["namespace"] == "new"
    assert [subject["namespace"] for subject in binding["subjects"]] == ["new", "elsewhere"]
    assert app["spec"]["replicas"] == 2
    assert app["metadata"]["annotations"] == {"example.com/x": "some"}
    assert app["spec"]["template"]["spec"]["containers"] == [
        {"name": "sidecar", "image": "sidecar"},
        {
            "name": "a",
            "image": "example.com/app:2",
            "args": ["one", "two", "three"],
            "ports": [{"containerPort": 81}, {"containerPort": 80}],
        },
        {"name": "c", "image": "other:1"},
    ]


def test_a_component_changes_what_came_before_it(tmp_path: Path) -> None:
    """Its own resources are added as well."""
    component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [extra.yaml]\npatches: [{path: patch.yaml}]\n"
    files = {
        "app/app.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}\n",
        "app/kustomization.yaml": f"{HEAD}resources: [app.yaml]\ncomponents: [../part]\n",
        "part/kustomization.yaml": component,
        "part/extra.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
        "part/patch.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '2'}\n",
    }
    changed, added = build(write(tmp_path, files) / "app")
    assert changed["data"] == {"x": "2"}
    assert added["metadata"]["name"] == "b"


REFUSED = {
    "a field that is not known": ("commonLabels: {a: b}", "unknown here: commonLabels"),
    "a patch of nothing": ("patches: [{target: {kind: Secret}, patch: '[]'}]", "changes nothing"),
    "a patch's option that is not known": ("patches: [{options: {}, patch: '[]'}]", "unknown in a patch"),
    "a target that is not known": (
        "patches: [{target: {labelSelector: x}, patch: '[]'}]",
        "unknown in a target",
    ),
    "labels in selectors": ("labels: [{pairs: {a: b}, includeSelectors: true}]", "only `pairs`"),
    "an object twice": ("components: [../twice]", "is there already"),
}


@pytest.mark.parametrize(("line", "said"), REFUSED.values(), ids=REFUSED)
def test_what_it_does_not_know_is_refused(tmp_path: Path, line: str, said: str) -> None:
    """Rather than left out of what is tested."""
    twice = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [app.yaml]\n"
    files = {"twice/kustomization.yaml": twice, "twice/app.yaml": APP, "top/app.yaml": APP}
    folder = write(tmp_path, {**files, "top/kustomization.yaml": f"{HEAD}resources: [app.yaml]\n{line}\n"})
    with pytest.raises(ValueError, match=said):
        build(folder / "top")


def test_a_kind_in_the_wrong_place_is_refused(tmp_path: Path) -> None:
    """A component is not built by itself."""
    component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
    with pytest.raises(ValueError, match="must be a Kustomization"):
        build(write(tmp_path, {"kustomization.yaml": component}))


def test_a_strategic_patch_removes_by_null_and_knows_no_directives() -> None:
    """The latter are kustomize's own words."""
    obj = {"a": 1, "b": {"c": 1, "d": 2}}
    merge(obj, {"a": None, "b": {"c": None}})
    assert obj == {"b": {"d": 2}}
    with pytest.raises(ValueError, match="not known here"):
        merge(obj, {"b": {"$patch": "delete"}})


def test_a_json_patch_is_all_or_an_error() -> None:
    """What is not there cannot be replaced, and a failed test is told."""
    obj: Object = {"list": [1, 2], "x": 1}
    json_patch(obj, [{"op": "remove", "path": "/list/0"}, {"op": "add", "path": "/list/0", "value": 0}])
    json_patch(obj, [{"op": "test", "path": "/x", "value": 1}, {"op": "remove", "path": "/x"}])
    assert obj == {"list": [0, 2]}
    for operation, error in (
        ({"op": "replace", "path": "/y", "value": 1}, KeyError),
        ({"op": "test", "path": "/list/0", "value": 1}, ValueError),
        ({"op": "move", "path": "/list/0", "from": "/list/1"}, ValueError),
    ):
        with pytest.raises(error):
            json_patch(obj, [operation])
