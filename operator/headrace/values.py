"""What every part of the chart's values is made of that the operator reads as a whole.

Unlike an object of the API, which may have been stored under an older rule, values are somebody's who is installing
right now: a field that is not known is refused.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from headrace.api.base import camel


class Values(BaseModel):
    """A part of the values: camelCase outside, snake_case inside, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True, alias_generator=camel, validate_by_alias=True, validate_by_name=True, extra="forbid"
    )
