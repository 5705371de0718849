"""KServe's V1 and V2 (Open Inference Protocol) bodies: from parsed JSON to rows, from probabilities to documents.

Pure functions. Whatever a client sends is either read or refused with an `InvalidRequestError` that says why; nothing else is raised.
V2's field names: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import json
from typing import Any

from model import Model, label

LIMIT = 1e6
"""Centimetres. Any number beyond, and NaN, is refused: no flower needs it, and one such number would spoil a row."""

FLOATS = ("FP32", "FP64")
Rows = list[list[float]]


class InvalidRequestError(ValueError):
    """A request body that cannot be answered; its text tells the client why. Becomes a 400."""


def parse(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from error


def answer_v1(model: Model, document: object) -> dict[str, Any]:
    """`{"instances": rows}` to `{"predictions": labels}`, a label being an index into the model's classes."""
    instances = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(instances, list):
        raise InvalidRequestError('the body must be {"instances": [[...], ...]}')
    rows = check_rows(instances, len(model.features))
    return {"predictions": [label(model.probabilities(row)) for row in rows]}


def answer_v2(model: Model, name: str, document: object) -> dict[str, Any]:
    """An inference request to its response, with all outputs or those that it names; its id is echoed."""
    if not isinstance(document, dict):
        raise InvalidRequestError('the body must be {"inputs": [{"name", "shape", "datatype", "data"}]}')
    rows = read_inputs(document.get("inputs"), len(model.features))
    probabilities = [model.probabilities(row) for row in rows]
    labels = [label(of_row) for of_row in probabilities]
    flat = [x for of_row in probabilities for x in of_row]
    outputs: dict[str, dict[str, Any]] = {
        "label": {"shape": [len(rows)], "datatype": "INT64", "data": labels},
        "probabilities": {"shape": [len(rows), len(model.classes)], "datatype": "FP64", "data": flat},
    }
    wanted = read_output_names(document.get("outputs", []), list(outputs))
    answer: dict[str, Any] = {"model_name": name, "model_version": model.version}
    if "id" in document:
        if not isinstance(document["id"], str):
            raise InvalidRequestError("id must be a string")
        answer["id"] = document["id"]
    answer["outputs"] = [{"name": output, **outputs[output]} for output in wanted]
    return answer


def metadata(model: Model, name: str) -> dict[str, Any]:
    """V2's description of a model. How it was trained stands under `parameters`, which the protocol leaves free."""
    return {
        "name": name,
        "versions": [model.version],
        "platform": "python_json",
        "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, len(model.features)]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(model.classes)]},
        ],
        "parameters": {
            "kind": model.kind,
            "features": model.features,
            "classes": model.classes,
            **model.training,
        },
    }


def read_inputs(inputs: object, features: int) -> Rows:
    """The rows of the one input tensor, whose data may be flat or nested."""
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidRequestError('inputs must be one tensor: [{"name", "shape", "datatype", "data"}]')
    tensor = inputs[0]
    if missing := [key for key in ("name", "shape", "datatype", "data") if key not in tensor]:
        raise InvalidRequestError(f"the input lacks {', '.join(missing)}")
    shape, data = tensor["shape"], tensor["data"]
    if tensor["datatype"] not in FLOATS:
        raise InvalidRequestError(f"datatype must be one of {', '.join(FLOATS)}")
    if not isinstance(data, list):
        raise InvalidRequestError("data must be a list")
    if data and not isinstance(data[0], list):
        data = [data[k : k + features] for k in range(0, len(data), features)]
    if shape != [len(data), features]:
        raise InvalidRequestError(f"shape must be [rows, {features}], and data has {len(data)} rows")
    return check_rows(data, features)


def read_output_names(outputs: object, known: list[str]) -> list[str]:
    """The outputs asked for; all that are known if none is."""
    if not isinstance(outputs, list):
        raise InvalidRequestError('outputs must be [{"name": ...}]')
    wanted: list[str] = [
        output["name"] for output in outputs if isinstance(output, dict) and output.get("name") in known
    ]
    if len(wanted) < len(outputs):
        raise InvalidRequestError(f"outputs may name {', '.join(known)} only")
    return wanted or known


def check_rows(rows: list[Any], features: int) -> Rows:
    """The rows themselves, once each is known to hold `features` finite numbers."""
    if not rows:
        raise InvalidRequestError("there is no row to predict")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != features:
            raise InvalidRequestError(f"row {number} must be a list of {features} numbers")
        for value in row:
            if isinstance(value, bool) or not isinstance(value, int | float) or not -LIMIT < value < LIMIT:
                raise InvalidRequestError(
                    f"row {number} has {json.dumps(value)[:40]} in place of a length in centimetres"
                )
    return rows
