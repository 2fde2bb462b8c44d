"""What cannot be a head or a chunk is refused where it is written down."""

import pytest
import torch

from unilogit.kernels import Chunk, HeadSpec


@pytest.mark.parametrize(
    ("options", "message"),
    [({"implementation": "fast"}, "'fast'"), ({"softcap": 0.0}, "above 0"), ({"softcap": float("nan")}, "above 0")],
)
def test_bad_specs_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        HeadSpec(**options)


@pytest.mark.parametrize(("rows", "columns"), [(0, 1), (1, 0), (-1, 5)])
def test_empty_chunks_are_refused(rows, columns):
    with pytest.raises(ValueError, match="at least 1"):
        Chunk(rows, columns, torch.float32)
