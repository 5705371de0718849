"""Kubernetes' quantities, such as `250m`, `1.5`, `128974848`, `129e6`, `129M`, `123Mi`, as plain numbers.

A core. Cores, bytes and counts are all written so; the suffixes are powers of ten or of two, or an exponent.
"""

import re

_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i))?")
_FACTORS = {
    **{
        suffix: 10.0**power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{f"{letter}i": 2.0 ** (10 * (index + 1)) for index, letter in enumerate("KMGTPE")},
}


def parse_quantity(text: object) -> float:
    """Raises ValueError for what is none."""
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        if isinstance(text, (int, float)) and not isinstance(text, bool):
            return float(text)
        raise ValueError(f"{text!r} is not a quantity such as 500m, 1.5 or 2Gi")
    number, exponent, suffix = found.groups()
    if exponent:
        return float(number + exponent)
    factor = _FACTORS[suffix] if suffix else 1.0
    # 300m is 0.3, not 0.3 and what a product of floats adds.
    return float(number) / round(1 / factor) if factor < 1 else float(number) * factor
