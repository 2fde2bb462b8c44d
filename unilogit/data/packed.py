"""Packed files: gzip's and Zstandard's streams as the bytes that they pack, told by the file's name.

Knows nothing of where a file lies or of what is in it.
"""

import gzip
import io
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import WriteableBuffer

_GZIP, _ZSTD = PACKED = (".gz", ".zst")  # ends of the names of packed files
_BUFFER = 1 << 17  # bytes


class BadZstdFile(OSError):
    """What a file called *.zst holds is no Zstandard stream, or a damaged one."""


DAMAGED = (EOFError, gzip.BadGzipFile, BadZstdFile, zlib.error)  # what reading raises of what is packed


def bare_name(name: str) -> str:
    """A file's name without the end that says how it is packed."""
    packing = next((end for end in PACKED if name.lower().endswith(end)), "")
    return name[: len(name) - len(packing)]


def unpacked(stream: io.BufferedReader, name: str) -> io.BufferedReader:
    """What a stream packs, if the name of its file says that it does; closing it closes the stream.

    Reading raises EOFError where the stream ends too early, and another of DAMAGED where it is damaged.
    """
    if name.lower().endswith(_GZIP):
        return io.BufferedReader(_Gzip(stream), buffer_size=_BUFFER)
    if name.lower().endswith(_ZSTD):
        return io.BufferedReader(_Zstd(stream), buffer_size=_BUFFER)
    return stream


class _Gzip(gzip.GzipFile):
    """What a gzip stream packs."""

    def __init__(self, stream: io.BufferedReader) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self.packed = stream

    def close(self) -> None:
        super().close()
        self.packed.close()


class _Zstd(io.RawIOBase):
    """What a Zstandard stream packs, frame after frame."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.packed = stream
        self._contents = _contents(stream)
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """To the start, from which all is unpacked again; nowhere else."""
        if whence != io.SEEK_SET or offset not in (0, self._place):
            raise io.UnsupportedOperation("only the start of what is packed can be gone back to")
        if offset != self._place:
            self.packed.seek(0)
            self._contents, self._place = _contents(self.packed), 0
        return offset

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        try:
            block = self._contents.read(len(view))
        except OSError as error:
            if error.errno is not None or type(error) is not OSError:
                raise  # of the system that holds the file, not Arrow's
            if "Truncated" in str(error):
                raise EOFError(str(error)) from error
            raise BadZstdFile(str(error)) from error
        view[: len(block)] = block
        self._place += len(block)
        return len(block)

    def close(self) -> None:
        super().close()
        self.packed.close()


class _Source:
    """A stream that Arrow reads and does not close: it would, when it is read again from the start."""

    closed = False

    def __init__(self, stream: io.BufferedReader) -> None:
        self.read = stream.read

    def close(self) -> None:
        pass


def _contents(stream: io.BufferedReader) -> "pa.NativeFile":
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(_Source(stream), mode="r"), "zstd")
