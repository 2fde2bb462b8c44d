"""What packs the bytes of a test's file as its name says; Zstandard's by Arrow's own writer."""

import gzip

import pyarrow as pa


def zstd(content: bytes) -> bytes:
    """One frame."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def pack(name: str, content: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(content, mtime=0)
    return zstd(content) if name.endswith(".zst") else content
