"""Kubernetes' quantities."""

import pytest

from gateway.kube.quantities import parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("250m", 0.25),
        ("300m", 0.3),
        ("123456789n", 0.123456789),
        ("17u", 0.000017),
        ("129M", 129e6),
        ("2Gi", 2 * 2.0**30),
        ("123Mi", 123 * 2.0**20),
        ("1.5Ki", 1536.0),
        ("129e6", 129e6),
        ("1E3", 1000.0),
        ("1E", 1e18),
        ("-1", -1.0),
        (2, 2.0),
        (0.5, 0.5),
    ],
)  # fmt: skip
def test_a_quantity_is_a_number(text: object, value: float) -> None:
    """With powers of ten, of two, or an exponent; YAML also writes plain numbers."""
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1gi", "1KB", "1e", "e3", "1_0", "\u0661", None, True, []])
def test_anything_else_is_refused(text: object) -> None:
    """Naming it."""
    with pytest.raises(ValueError, match="is not a quantity such as 500m"):
        parse_quantity(text)
