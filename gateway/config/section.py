"""What all sections of the file have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A mapping of the file. Never changed once read; keys that it does not know are faults."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def shared(section: Section) -> Any:  # noqa: ANN401 - it stands for a value of the field's type
    """The default of a field that holds a section: one object for all, and not repeated in the schema."""
    return Field(default_factory=lambda: section)
