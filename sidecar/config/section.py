"""What every section of the configuration is, and what names may look like. Owns no field."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from sidecar.core.declared import NAME

NAME_PATTERN: Final = f"^{NAME.pattern}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, description="Letters, digits, - and _; at most 64.")]


class Section(BaseModel):
    """A part of the configuration: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
