"""deploy/store.sh with the SeaweedFS that it starts: two users who do not see each other's bucket, and nobody else."""

import os
import re
import socket
import ssl
import stat
import subprocess
import time
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.deploy.servers import running_store
from tests.deploy.settings import clean_environment, make_credentials

pytestmark = pytest.mark.slow

BUCKETS = ("mlflow", "dvc")
SOON = ("-master.vacuumIntervalSeconds", "5")
ELSEWHERE = "127.0.0.2"  # loopback as well, but not the address at which the store's parts find each other


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The store's folder, its address, and its users' passwords."""
    folder = tmp_path_factory.mktemp("store") / "store"
    credentials = make_credentials(folder.parent / ".env")
    passwords = {name: credentials[f"{name.upper()}_STORE_PASSWORD"] for name in BUCKETS}
    with running_store(folder, clean_environment() | credentials, ELSEWHERE, *SOON) as url:
        yield folder, url, passwords


def client(store, user, password=None):
    _, url, passwords = store
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=user,
        aws_secret_access_key=password or passwords[user],
        config=Config(retries={"max_attempts": 1}),
    )


def wait_for_buckets(store):
    deadline = time.monotonic() + 60
    for name in BUCKETS:
        while True:
            try:
                client(store, name).list_objects_v2(Bucket=name)
                break
            except ClientError:
                assert time.monotonic() < deadline, f"no bucket {name}"
                time.sleep(0.5)


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_each_user_has_a_bucket_and_nobody_else_sees_it(store):
    wait_for_buckets(store)
    for name, other in (BUCKETS, BUCKETS[::-1]):
        mine, theirs = client(store, name), client(store, other)
        mine.put_object(Bucket=name, Key="a/b", Body=b"text of a person")
        assert mine.get_object(Bucket=name, Key="a/b")["Body"].read() == b"text of a person"
        assert [entry["Key"] for entry in mine.list_objects_v2(Bucket=name)["Contents"]] == ["a/b"]
        for stranger in (theirs, client(store, name, password="guessed"), client(store, "nobody", password="x")):
            assert refused(stranger.get_object, Bucket=name, Key="a/b")
            assert refused(stranger.list_objects_v2, Bucket=name)
            assert refused(stranger.put_object, Bucket=name, Key="a/b", Body=b"")
            assert refused(stranger.delete_object, Bucket=name, Key="a/b")
        assert mine.get_object(Bucket=name, Key="a/b")["Body"].read() == b"text of a person"
        assert refused(mine.create_bucket, Bucket="another")


def test_nothing_but_s3_may_listen_beyond_loopback(store):
    folder, url, _ = store
    ours = {process.name for process in Path("/proc").glob("[0-9]*") if _is_of(process, folder)}
    sockets = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    addresses = {line.split()[3] for line in sockets if ours & set(re.findall(r"pid=(\d+)", line))}
    host, port = url.removeprefix("http://").split(":")
    rpc = f"{host}:{int(port) + 10000}"
    outside = {address for address in addresses if not address.startswith("127.0.0.1:")}
    assert outside == {f"{host}:{port}", rpc}
    assert len(addresses) > 5
    assert http_2(rpc, folder / "grpc.crt", folder / "grpc.key")[3:5] == b"\x04\x00"  # SETTINGS
    with pytest.raises(ssl.SSLError, match="certificate required"):
        http_2(rpc)


def http_2(address, certificate=None, key=None):
    """The first frame that a server says to who presents this certificate, or none."""
    host, port = address.split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(certificate, key)
    with context.wrap_socket(socket.create_connection((host, int(port)), timeout=10)) as stream:
        stream.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        return stream.recv(100)


def _is_of(process, folder):
    try:
        return str(folder) in (process / "cmdline").read_text()
    except OSError:
        return False


def test_its_folder_is_its_users_alone(store):
    folder, _, _ = store
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} <= {0o600, 0o700}


def test_what_is_deleted_leaves_the_disk(store):
    folder, _, _ = store
    wait_for_buckets(store)
    dvc = client(store, "dvc")
    secret = os.urandom(40000).hex().encode()  # too large to be kept beside its name
    dvc.put_object(Bucket="dvc", Key="files/secret", Body=secret)

    def is_on_disk():
        return any(secret[1000:1200] in file.read_bytes() for file in folder.rglob("*") if file.is_file())

    assert is_on_disk()
    dvc.delete_object(Bucket="dvc", Key="files/secret")
    deadline = time.monotonic() + 300
    while is_on_disk():
        assert time.monotonic() < deadline
        time.sleep(5)
