"""What the knobs of a method are made of: `@dataclass(frozen=True, config=STRICT)` over bounded fields.

Knows no method.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""A knob that does not exist, infinity and NaN are errors."""

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
