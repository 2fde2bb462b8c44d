"""What is packed is read whole or not at all: cut and damaged streams never look like shorter ones."""

import io

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.data.packing import pack, zstd
from unilogit.data.packed import DAMAGED, PACKED, bare_name, unpacked

names = st.sampled_from([f"corpus.jsonl{end}" for end in PACKED])
contents = st.binary(max_size=300) | st.integers(1, 40_000).map(lambda count: b"line %d\n" % count * count)


def opened(name, content):
    return unpacked(io.BufferedReader(io.BytesIO(content)), name)


@settings(max_examples=60, deadline=None)
@given(names, st.lists(contents, min_size=1, max_size=3))
def test_all_that_was_packed_is_read_twice(name, parts):
    """In several frames or members too, as `cat` joins them."""
    stream = opened(name, b"".join(pack(name, part) for part in parts))
    head = stream.read(7)
    stream.seek(0)
    whole = b"".join(parts)
    assert (head, stream.read()) == (whole[:7], whole)


@settings(max_examples=100, deadline=None)
@given(names, contents.filter(bool), st.data())
def test_a_stream_that_is_cut_ends_too_early(name, content, data):
    packed = pack(name, content)
    cut = data.draw(st.integers(2, len(packed) - 1))  # with one byte it is not gzip yet
    with pytest.raises(EOFError):
        opened(name, packed[:cut]).read()


@settings(max_examples=60, deadline=None)
@given(names, st.binary(min_size=20, max_size=60))
def test_what_is_no_packed_stream_is_damaged(name, content):
    assume(not content.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")))
    assume(not (0x50 <= content[0] <= 0x5F and content[1:4] == b"\x2a\x4d\x18"))  # a frame of Zstandard to be skipped
    with pytest.raises(DAMAGED):
        opened(name, content).read()
    assert opened("corpus.jsonl", content).read() == content


def test_a_frame_before_garbage_is_not_the_whole():
    with pytest.raises(DAMAGED):
        opened("a.zst", zstd(b"x" * 1000) + b"garbage").read()


def test_closing_closes_the_file():
    for end in PACKED:
        file = io.BufferedReader(io.BytesIO(pack(f"a{end}", b"x")))
        unpacked(file, f"a{end}").close()
        assert file.closed


def test_an_error_of_the_system_stays_one():
    class Unreachable(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise ConnectionResetError("by peer")

    with pytest.raises(ConnectionResetError):
        unpacked(io.BufferedReader(Unreachable()), "a.zst").read()


def test_names_without_packing():
    assert [bare_name(name) for name in ("a.jsonl.gz", "a.JSONL.ZST", "zst", "a.zst.gz")] == [
        *("a.jsonl", "a.JSONL", "zst", "a.zst"),
    ]
