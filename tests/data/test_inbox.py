"""What can be taken in is found, wherever the inbox is; what is not finished waits, what is strange stops nothing."""

import gzip
import json
import os
import time

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from tests.data.packing import pack, zstd
from unilogit.data.inbox import ABANDONED, SETTLED, scan_inbox
from unilogit.data.locations import fingerprint, list_folder, modified_time, open_binary, sha256_location
from unilogit.data.request_files import SUFFIXES, RawRequest, file_request, read_requests
from unilogit.errors import InputError, TemporaryError
from unilogit.files import sha256_file

ROW = '{"request_id": "r1", "received_at": "2026-03-02T15:00:00Z", "subject_id": "P-1"}'
CSV = "request_id,received_at,subject_id\nr1,2026-03-02T15:00:00Z,P-1\n"


def put(folder, name, content, age=SETTLED + 1):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (time.time() - age,) * 2)
    return str(path)


def test_an_inbox_is_read_by_name(tmp_path):
    files = [put(tmp_path, name, ROW) for name in ("c.jsonl", "a.ndjson", "b.JSONL", "d.jsonl.gz")]
    put(tmp_path, ".hidden.jsonl", ROW)
    put(tmp_path, "e.jsonl.part", ROW)
    inbox = scan_inbox(tmp_path)
    assert (inbox.files, inbox.waiting, inbox.strays) == (sorted(files), [], [])
    (tmp_path / "empty").mkdir()
    assert scan_inbox(tmp_path / "empty").files == []


def test_strays_are_told_in_one_sentence_that_names_nobody(tmp_path):
    file = put(tmp_path, "a.jsonl", ROW)
    for name in ("Ann Lee.pdf", "Ann Lee (2).pdf", "Ann", "letter.annlee"):
        put(tmp_path, name, "x")
    (tmp_path / "Ann's").mkdir()
    inbox = scan_inbox(tmp_path)
    assert inbox.files == [file]
    [stray] = inbox.strays
    assert stray.startswith(f"{tmp_path}: no requests, passed over: 2 .pdf, 2 file, 1 folder; take them away, or")
    assert "Ann" not in stray.removeprefix(str(tmp_path))


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.gz", "a.parquet.gz"])
def test_a_stray_that_is_named_is_an_error(tmp_path, name):
    with pytest.raises(InputError, match="the kind of file is not known; save it as one of"):
        scan_inbox(put(tmp_path, name, "x"))


def test_an_inbox_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(InputError, match="there is no such file or folder"):
        scan_inbox(tmp_path / "inbox")


@pytest.mark.parametrize(
    ("name", "content", "waits"),
    [
        ("a.jsonl", f"{ROW}\n{ROW}", False),
        ("a.jsonl", f"{ROW}\n{ROW[:-1]}", True),
        ("a.jsonl", f"{ROW}\n{ROW[:-1]}\n", False),
        ("a.jsonl", "", True),
        ("a.csv", CSV, False),
        ("a.csv", CSV[:-1], False),
        ("a.csv", f"{CSV}r2,2026", True),
        ("a.csv", f"{CSV}r2,2026\n", False),
        ("a.csv", f'{CSV}r2,2026,"P', True),
        ("a.csv", CSV[:20], True),
        ("a.csv", CSV[:1], True),
        ("a.csv", "request_id\nr1", False),
        ("a.csv", f"{CSV}r2,2026".encode("utf-16"), True),
        ("a.csv", CSV.encode("utf-16"), False),
        ("a.tsv", f"{CSV}r2,2026".replace(",", "\t"), True),
        ("a.json", f"[{ROW}, {ROW}", True),
        ("a.json", f"[{ROW}]\n\n", False),
        ("a.jsonl.gz", gzip.compress(ROW.encode(), mtime=0), False),
        ("a.jsonl.gz", gzip.compress(ROW.encode(), mtime=0)[:-9], True),
        ("a.jsonl.gz", b"no gzip", False),
        ("a.jsonl.zst", zstd(ROW.encode()), False),
        ("a.jsonl.zst", zstd(ROW.encode())[:-9], True),
        ("a.jsonl.zst", b"no Zstandard", False),
        ("a.parquet", b"PAR1", False),
        ("a.parquet", b"PAR1 and so on", True),
    ],
)
def test_what_ends_in_the_midst_waits_an_hour_at_the_most(tmp_path, name, content, waits):
    file = put(tmp_path, name, content)
    inbox = scan_inbox(tmp_path)
    assert (inbox.files, len(inbox.waiting)) == (([], 1) if waits else ([file], 0))
    if waits:
        suffix = name[name.rindex(".") :]
        assert inbox.waiting == [f"{tmp_path}: still being written: 1 {suffix}; the next run takes them"]
    assert scan_inbox(file).files == [file]  # whoever names a file means it
    assert scan_inbox(tmp_path, wait=False).files == [file]
    put(tmp_path, name, content, ABANDONED + 1)
    assert scan_inbox(tmp_path).files == [file]


@pytest.mark.parametrize("age", [0, SETTLED - 1, -SETTLED + 1])
def test_what_has_just_changed_waits(tmp_path, age):
    put(tmp_path, "a.csv", CSV, age)
    assert scan_inbox(tmp_path).files == []


def test_a_filed_request_is_whole_and_does_not_wait(tmp_path):
    file_request(tmp_path, "P-1")
    assert len(scan_inbox(tmp_path).files) == 1


@pytest.fixture(scope="module")
def bucket():
    """A bucket of an S3 server of our own, on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        store = s3fs.S3FileSystem(use_listings_cache=False)
        store.mkdir("requests")
        yield store
    server.stop()


def test_an_inbox_in_a_bucket(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr("unilogit.data.inbox.SETTLED", 0.0)
    packed = gzip.compress(f"{ROW}\n".encode())
    for name, content in {"a.csv": CSV.encode(), "b.jsonl.gz": packed, "c.pdf": b"x", "sub/d.csv": b"x"}.items():
        bucket.pipe_file(f"requests/inbox/{name}", content)
    file_request("s3://requests/inbox", "P-2", text="about P-2")
    inbox = scan_inbox("s3://requests/inbox")
    assert inbox.files[:2] == ["s3://requests/inbox/a.csv", "s3://requests/inbox/b.jsonl.gz"]
    assert len(inbox.files) == 3
    assert "1 .pdf, 1 folder" in inbox.strays[0]
    rows = [row for file in inbox.files for row in read_requests(file, warnings=[])]
    assert all(isinstance(row, RawRequest) for row in rows)
    assert [row.fields["subject_id"] for row in rows] == ["P-1", "P-1", "P-2"]
    (tmp_path / "a.csv").write_text(CSV)
    assert sha256_location("s3://requests/inbox/a.csv") == sha256_file(tmp_path / "a.csv")
    assert abs(modified_time("s3://requests/inbox/a.csv") - time.time()) < 60


def test_what_is_new_in_a_bucket_is_seen_by_the_same_process(bucket):
    bucket.pipe_file("requests/new/a.csv", CSV.encode())
    before = [entry.name for entry in list_folder("s3://requests/new")], fingerprint("s3://requests/new")
    assert fingerprint("s3://requests/new") == before[1]
    bucket.pipe_file("requests/new/b.csv", CSV.encode())
    after = [entry.name for entry in list_folder("s3://requests/new")], fingerprint("s3://requests/new")
    assert (before[0], after[0]) == (["a.csv"], ["a.csv", "b.csv"])
    bucket.pipe_file("requests/new/b.csv", b"changed")
    assert len({before[1], after[1], fingerprint("s3://requests/new")}) == 3
    assert scan_inbox("s3://requests/new/a.csv").files == ["s3://requests/new/a.csv"]


def test_a_parquet_file_in_a_bucket(bucket, tmp_path):
    import pandas as pd

    pd.DataFrame([json.loads(ROW)]).to_parquet(tmp_path / "a.parquet")
    bucket.put_file(str(tmp_path / "a.parquet"), "requests/a.parquet")
    [row] = read_requests("s3://requests/a.parquet", warnings=[])
    assert row.fields["request_id"] == "r1"


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("s3://requests/nowhere", "there is no such file or folder"),
        ("s3://no-such-bucket/inbox", "there is no such file or folder"),
        ("nothing://inbox", "Protocol not known"),
    ],
)
def test_an_inbox_that_cannot_be_reached_is_an_error(bucket, location, words):
    with pytest.raises(InputError, match=words):
        scan_inbox(location)


def test_a_store_that_does_not_answer_is_an_error(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(TemporaryError, match=r"^s3://requests/inbox: cannot be reached"):
        scan_inbox("s3://requests/inbox")
    s3fs.S3FileSystem.clear_instance_cache()


def test_every_kind_of_file_can_be_opened(tmp_path):
    for suffix in SUFFIXES:
        with open_binary(put(tmp_path, f"a{suffix}", pack(suffix, b"x"))) as stream:
            assert stream.read() == b"x"
