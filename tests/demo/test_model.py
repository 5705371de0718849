"""The demo's models: what they compute, that the stated accuracy is true, and that the weights are what train.py makes."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo.model import Layer, Model, activations, dot, label, softmax

DEMO = Path(__file__).parents[2] / "deploy" / "demo"
VERSIONS = ["v1", "v2"]


def load(version: str) -> Model:
    return Model.load(DEMO / "weights" / f"{version}.json")


def iris() -> list[tuple[list[float], str]]:
    with (DEMO / "iris.csv").open(encoding="utf-8", newline="") as file:
        _, *lines = csv.reader(file)
    return [([float(x) for x in line[:4]], line[4]) for line in lines]


def test_the_data_are_fishers_150_flowers_fifty_of_each_species() -> None:
    """The committed table is whole, and of the copy that agrees with the paper in the rows where others err."""
    rows = iris()
    assert [
        sum(name == species for _, name in rows) for species in ("setosa", "versicolor", "virginica")
    ] == [50] * 3
    assert rows[34] == ([4.9, 3.1, 1.5, 0.2], "setosa")
    assert rows[37] == ([4.9, 3.6, 1.4, 0.1], "setosa")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stated_accuracies_are_those_of_the_committed_weights(version: str) -> None:
    """Over all rows the model is right as often as the two stated accuracies add up to."""
    model = load(version)
    right = sum(model.classes[label(model.probabilities(row))] == species for row, species in iris())
    how = model.training
    seen, held_out = how["rows"], how["held_out_rows"]
    assert seen + held_out == 150
    assert right == round(how["accuracy"] * seen) + round(how["held_out_accuracy"] * held_out)
    assert how["held_out_accuracy"] > 0.9


@pytest.mark.parametrize("version", VERSIONS)
def test_training_again_writes_the_same_file(version: str, tmp_path: Path) -> None:
    """The weights in the repository are what train.py makes, byte for byte."""
    command = [sys.executable, str(DEMO / "train.py"), "--only", version, "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / f"{version}.json").read_text() == (DEMO / "weights" / f"{version}.json").read_text()


@pytest.mark.parametrize(("version", "layers"), [("v1", [(3, 4)]), ("v2", [(8, 4), (3, 8)])])
def test_the_layers_have_the_sizes_that_their_kind_says(version: str, layers: list[tuple[int, int]]) -> None:
    """v1 is one layer, 4 to 3; v2 is 4-8-3."""
    shapes = [(len(layer["weights"]), len(layer["weights"][0])) for layer in load(version).layers]
    assert shapes == layers
    assert [len(layer["bias"]) for layer in load(version).layers] == [outputs for outputs, _ in layers]


@pytest.mark.parametrize("version", VERSIONS)
@given(row=st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_probabilities_of_any_row_add_up_to_one(version: str, row: list[float]) -> None:
    """No admissible row overflows, and the classes share the whole."""
    probabilities = load(version).probabilities(row)
    assert len(probabilities) == 3
    assert all(0 <= p <= 1 for p in probabilities)
    assert math.isclose(sum(probabilities), 1)


def test_layers_compute_tanh_between_and_softmax_at_the_end() -> None:
    """A chain small enough to check by hand: tanh(2*1 + 1), then softmax of (tanh 3, 0)."""
    layers: list[Layer] = [
        {"weights": [[2.0]], "bias": [1.0]},
        {"weights": [[1.0], [0.0]], "bias": [0.0, 0.0]},
    ]
    row, hidden, out = activations(layers, [1.0])
    assert row == [1.0]
    assert hidden == [math.tanh(3.0)]
    assert math.isclose(out[0], 1 / (1 + math.exp(-math.tanh(3.0))))


def test_features_are_standardised_before_the_first_layer() -> None:
    """The mean becomes 0 and one scale above it 1."""
    layer: Layer = {"weights": [[1.0], [0.0]], "bias": [0.0, 0.0]}
    model = Model("v0", "test", ["x"], ["a", "b"], mean=[10.0], scale=[5.0], layers=[layer], training={})
    assert model.probabilities([10.0]) == [0.5, 0.5]
    assert math.isclose(model.probabilities([15.0])[0], 1 / (1 + math.exp(-1)))
    assert repr(model) == "<Model v0 test: 1 features, 2 classes>"


def test_softmax_takes_scores_that_exp_would_not() -> None:
    """exp(1000) overflows; the shares of 1000 and 1000 do not."""
    assert softmax([1000.0, 1000.0, -1000.0]) == [0.5, 0.5, 0.0]


def test_the_first_of_equally_likely_classes_is_the_label() -> None:
    """Ties have one answer, so that both protocols give the same."""
    assert label([0.2, 0.4, 0.4]) == 1


def test_dot_products_round_once() -> None:
    """Plain addition loses the 1 between the two large terms, and differently so in Python 3.11 and 3.12."""
    assert dot([1e16, 1.0, -1e16], [1.0, 1.0, 1.0]) == 1.0


def test_weights_state_the_data_they_were_trained_on() -> None:
    """Both versions saw the same rows."""
    documents = [json.loads((DEMO / "weights" / f"{version}.json").read_text()) for version in VERSIONS]
    assert len({document["training"]["data_sha256"] for document in documents}) == 1
    assert len({document["training"]["seed"] for document in documents}) == 1
