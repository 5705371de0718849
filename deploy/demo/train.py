"""Trains the demo's two models on Fisher's iris data and writes `weights/v1.json` and `weights/v2.json`.

    python deploy/demo/train.py [--only v1] [--out FOLDER]

Plain Python, a few seconds. Everything random comes from one seed and weights are rounded to six decimals, so that
running it again writes the same files. A third of the rows, drawn per class, is held out: training never sees it, and the
stated accuracy is the rounded model's on those rows alone.
"""

import argparse
import csv
import hashlib
import itertools
import json
import math
import random
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model import Layer, Model, activations, label

HERE = Path(__file__).resolve().parent
SEED = 1936
DECIMALS = 6
MOMENTUM = 0.9

Row = tuple[list[float], int]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to train: the sizes of the hidden layers, and full-batch gradient descent's settings."""

    kind: str
    hidden: tuple[int, ...]
    epochs: int
    rate: float
    decay: float
    """L2 penalty on weights, not on biases."""


RECIPES = {
    "v1": Recipe("multinomial logistic regression", hidden=(), epochs=300, rate=0.3, decay=0.01),
    "v2": Recipe("multilayer perceptron 4-8-3", hidden=(8,), epochs=400, rate=0.1, decay=0.003),
}


def read(path: Path) -> tuple[list[str], list[str], list[Row]]:
    """The names of the features, those of the classes (alphabetical), and the rows as written."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    classes = sorted({line[-1] for line in lines})
    return header[:-1], classes, [([float(x) for x in line[:-1]], classes.index(line[-1])) for line in lines]


def split(rows: list[Row], classes: int, dice: random.Random) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows held out: two thirds and one third of each class (34 and 16 of 50)."""
    seen: list[Row] = []
    held_out: list[Row] = []
    for wanted in range(classes):
        of_class = [row for row in rows if row[1] == wanted]
        dice.shuffle(of_class)
        third = len(of_class) // 3
        held_out += of_class[:third]
        seen += of_class[third:]
    return seen, held_out


def standardise(rows: list[Row], mean: list[float], scale: list[float]) -> list[Row]:
    return [([(x - m) / s for x, m, s in zip(row, mean, scale, strict=True)], wanted) for row, wanted in rows]


def start(sizes: list[int], dice: random.Random) -> list[Layer]:
    """Random layers between the sizes, with a variance of 1/inputs (Glorot's scale, for tanh)."""
    return [
        {
            "weights": [
                [dice.uniform(-1, 1) * math.sqrt(3 / inputs) for _ in range(inputs)] for _ in range(outputs)
            ],
            "bias": [0.0] * outputs,
        }
        for inputs, outputs in itertools.pairwise(sizes)
    ]


def gradient(layers: list[Layer], rows: list[Row]) -> list[Layer]:
    """The mean cross-entropy's gradient over the rows, by backpropagation; shaped like the layers."""
    total: list[Layer] = [
        {"weights": [[0.0] * len(row) for row in layer["weights"]], "bias": [0.0] * len(layer["bias"])}
        for layer in layers
    ]
    for row, wanted in rows:
        values = activations(layers, row)
        # softmax under cross-entropy: the error of an output is its probability less what it should have been
        errors = [p - (k == wanted) for k, p in enumerate(values[-1])]
        for depth in reversed(range(len(layers))):
            for weights, error, out in zip(total[depth]["weights"], errors, range(len(errors)), strict=True):
                total[depth]["bias"][out] += error / len(rows)
                for k, value in enumerate(values[depth]):
                    weights[k] += error * value / len(rows)
            if depth:
                columns = zip(*layers[depth]["weights"], strict=True)
                errors = [
                    math.fsum(w * e for w, e in zip(column, errors, strict=True)) * (1 - value * value)
                    for column, value in zip(columns, values[depth], strict=True)
                ]
    return total


def fit(recipe: Recipe, rows: list[Row], sizes: list[int], dice: random.Random) -> list[Layer]:
    """Gradient descent with momentum over all rows at once."""
    layers = start(sizes, dice)
    speed: list[Layer] = [
        {"weights": [[0.0] * len(row) for row in layer["weights"]], "bias": [0.0] * len(layer["bias"])}
        for layer in layers
    ]
    for _ in range(recipe.epochs):
        for layer, moving, slope in zip(layers, speed, gradient(layers, rows), strict=True):
            for weights, moves, slopes in zip(
                layer["weights"], moving["weights"], slope["weights"], strict=True
            ):
                for k in range(len(weights)):
                    moves[k] = MOMENTUM * moves[k] - recipe.rate * (slopes[k] + recipe.decay * weights[k])
                    weights[k] += moves[k]
            for k in range(len(layer["bias"])):
                moving["bias"][k] = MOMENTUM * moving["bias"][k] - recipe.rate * slope["bias"][k]
                layer["bias"][k] += moving["bias"][k]
    return layers


def rounded(values: list[float]) -> list[float]:
    return [round(value, DECIMALS) for value in values]


def accuracy(model: Model, rows: list[Row]) -> float:
    right = sum(label(model.probabilities(row)) == wanted for row, wanted in rows)
    return round(right / len(rows), 4)


def train(version: str, data: Path) -> dict[str, Any]:
    """The document that `Model.load` reads."""
    recipe = RECIPES[version]
    features, classes, rows = read(data)
    dice = random.Random(SEED)  # noqa: S311 - to be repeatable, not secret
    seen, held_out = split(rows, len(classes), dice)
    columns = list(zip(*(row for row, _ in seen), strict=True))
    mean = rounded([statistics.fmean(column) for column in columns])
    scale = rounded([statistics.pstdev(column) for column in columns])
    sizes = [len(features), *recipe.hidden, len(classes)]
    layers = fit(recipe, standardise(seen, mean, scale), sizes, dice)
    document: dict[str, Any] = {
        "version": version,
        "kind": recipe.kind,
        "features": features,
        "classes": classes,
        "mean": mean,
        "scale": scale,
        "layers": [
            {"weights": [rounded(row) for row in layer["weights"]], "bias": rounded(layer["bias"])}
            for layer in layers
        ],
    }
    model = Model(**document, training={})
    document["training"] = {
        "data_sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
        "seed": SEED,
        "epochs": recipe.epochs,
        "rows": len(seen),
        "accuracy": accuracy(model, seen),
        "held_out_rows": len(held_out),
        "held_out_accuracy": accuracy(model, held_out),
    }
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=sorted(RECIPES), help="train this version alone")
    parser.add_argument(
        "--out", type=Path, default=HERE / "weights", help="folder to write to (default: weights/)"
    )
    args = parser.parse_args()
    for version in [args.only] if args.only else sorted(RECIPES):
        document = train(version, HERE / "iris.csv")
        path = args.out / f"{version}.json"
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        how = document["training"]
        print(
            f"{path}: {document['kind']}, {how['held_out_accuracy']:.1%} of {how['held_out_rows']} held-out rows right"
        )


if __name__ == "__main__":
    main()
