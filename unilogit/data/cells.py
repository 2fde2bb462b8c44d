"""Single cells of a row: identifiers that are numbers, and what lies within objects.

Knows nothing of which field a cell is of.
"""

import math
from decimal import Decimal


def identifier(cell: object) -> str | None:
    """Text as it is written, a whole number in digits; None where nothing is given, which data frames write as NaN.

    Raises:
        ValueError: it is neither, with what to say after the field's name.
    """
    match cell:
        case str() | None:
            return cell
        case bool():
            raise ValueError("must be text or a whole number, not true or false; correct it")
        case int():
            return str(cell)
        case Decimal() if cell.is_finite() and cell.as_tuple().exponent == 0:
            return str(cell)
        case float() | Decimal():
            if math.isnan(cell):
                return None
            words = "is a number with a decimal point, so that nobody knows the id"
            raise ValueError(f"{words}; export it as text or as a whole number")
    raise ValueError("must be text or a whole number; put its value in quotes")


def reach(value: object, path: list[str]) -> object:
    """What lies at the end of a path through objects; through a list, all that lies there."""
    if not path:
        return value
    if isinstance(value, list):
        reached = (reach(entry, path) for entry in value)
        return [item for entry in reached for item in (entry if isinstance(entry, list) else [entry])]
    return reach(value.get(path[0]), path[1:]) if isinstance(value, dict) else None
