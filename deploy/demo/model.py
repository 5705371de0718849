"""Inference for the demo's classifiers, in plain Python so that a pod starts with nothing to import.

A model is a chain of dense layers: tanh between them, softmax after the last. One layer is multinomial logistic
regression (v1); two are a multilayer perceptron (v2). `train.py` makes the weights and uses the same `activations`.

Rows are lists of as many finite numbers as the model has features; whoever calls has checked that.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from typing import Any, TypedDict


class Layer(TypedDict):
    """One dense layer: a row of weights and a bias for each of its outputs."""

    weights: list[list[float]]
    bias: list[float]


@dataclass(frozen=True, slots=True)
class Model:
    """A trained classifier. `mean` and `scale` standardise each feature before the first layer."""

    version: str
    kind: str
    features: list[str]
    classes: list[str]
    mean: list[float]
    scale: list[float]
    layers: list[Layer]
    training: dict[str, Any]
    """How it was made and how well it does on the rows that it did not see."""

    @classmethod
    def load(cls, path: Path) -> "Model":
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def probabilities(self, row: Sequence[float]) -> list[float]:
        """The probability of each class, in the order of `classes`; they add up to 1."""
        standard = [(x - m) / s for x, m, s in zip(row, self.mean, self.scale, strict=True)]
        return activations(self.layers, standard)[-1]

    def __repr__(self) -> str:
        return (
            f"<Model {self.version} {self.kind}: {len(self.features)} features, {len(self.classes)} classes>"
        )


def label(probabilities: Sequence[float]) -> int:
    """The index of the likeliest class; the first of equals."""
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def activations(layers: Sequence[Layer], row: Sequence[float]) -> list[list[float]]:
    """What each layer puts out for a standardised row: the row itself first, the probabilities last."""
    values = [list(row)]
    for number, layer in enumerate(layers, start=1):
        sums = [
            dot(weights, values[-1]) + b for weights, b in zip(layer["weights"], layer["bias"], strict=True)
        ]
        values.append(softmax(sums) if number == len(layers) else [math.tanh(x) for x in sums])
    return values


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    # fsum, because sum() of floats rounds differently from Python 3.12 on and the weights must come out the same
    return math.fsum(map(mul, left, right))


def softmax(scores: Sequence[float]) -> list[float]:
    top = max(scores)  # exp() of what is left never overflows
    powers = [math.exp(score - top) for score in scores]
    total = math.fsum(powers)
    return [power / total for power in powers]
