"""Write what the InferenceServices of this folder become: `.venv/bin/python tests/golden/inference/make.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.inferences import GOLDEN, golden

for path in sorted(GOLDEN.glob("*.yaml")):
    if not path.name.endswith(".out.yaml"):
        path.with_suffix(".out.yaml").write_text(golden(path.read_text()))
