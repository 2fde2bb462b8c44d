"""Columns of a corpus that are called otherwise: theirs by the names of ours, as `data.corpus_mapping` says.

Knows names. Knows nothing of files or of what the fields hold.
"""

from collections.abc import Collection

from unilogit.data.cells import reach
from unilogit.errors import InputError
from unilogit.files import JsonObject

KNOB = "data.corpus_mapping"
CorpusMapping = dict[str, str | None] | None
_LISTS = ("subject_ids", "perturbed_responses")


class ColumnNames:
    """Gives the fields of rows the names that they have here.

    Args:
        mapping: their field (a dotted path reaches into objects, and through lists) → ours, or None for one that is
            passed over; what it does not name keeps its name.
        known: the fields that there are.

    Attributes:
        heads: names that rows have by the mapping.
        unseen: fields of the mapping that no row had yet.

    Raises:
        InputError: the mapping does not lead to fields that there are.
    """

    def __init__(self, mapping: CorpusMapping, known: Collection[str]) -> None:
        mapping = mapping or {}
        self._paths: dict[str, list[tuple[str, list[str], str | None]]] = {}
        for path, target in mapping.items():
            first, *rest = path.split(".")
            self._paths.setdefault(path, []).append((path, [], target))
            if rest:
                self._paths.setdefault(first, []).append((path, rest, target))
        self.heads = set(self._paths)
        self.unseen = set(mapping)
        targets = [target for target in mapping.values() if target is not None]
        problems = [
            f"{KNOB}: {path}: `{target}` is no field of a record; choose one of {', '.join(known)}, or null"
            for path, target in mapping.items()
            if target is not None and target not in known
        ]
        problems += [
            f"{KNOB}: more than one field is mapped to `{target}`, which is no list; keep one"
            for target in sorted({name for name in targets if targets.count(name) > 1 and name not in _LISTS})
        ]
        if problems:
            raise InputError(*problems)

    def renamed(self, row: JsonObject) -> JsonObject:
        """A row's fields by the names that they have here.

        Raises:
            ValueError: it gives a field twice.
        """
        if not self._paths:
            return row
        fields: JsonObject = {}
        for name, cell in row.items():
            if name not in self._paths:
                _put(fields, name, cell)
            for path, rest, target in self._paths.get(name, ()):
                value = reach(cell, rest)
                if not rest or value is not None:
                    self.unseen.discard(path)
                if target is not None and value is not None:
                    _put(fields, target, _listed(value) if target in _LISTS else value)
        return fields


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _put(fields: JsonObject, name: str, value: object) -> None:
    if name in _LISTS and isinstance(fields.get(name), list) and isinstance(value, list):
        value = fields[name] + value
    elif name in fields:
        raise ValueError(f"gives the field `{name}` twice; keep one")
    fields[name] = value
