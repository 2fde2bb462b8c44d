"""Certificates are kept once and for ever, every change of one is found and named, and a kill leaves nothing half."""

import json
import multiprocessing
import os
import signal
import stat
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from tasks.requests.certificates import (
    PASSPHRASE,
    certificate_file,
    certificate_files,
    keygen,
    open_signer,
    print_certificates,
    show_certificate,
    sweep_certificates,
    verify_certificates,
    write_certificate,
)
from tests.certified import certificate
from unilogit.certificates import sign
from unilogit.errors import InputError
from unilogit.signing import PRIVATE_KEY, PUBLIC_KEY


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "var"))
    monkeypatch.delenv(PASSPHRASE, raising=False)
    return tmp_path / "var"


@pytest.fixture
def signer(home):
    keygen()
    return open_signer()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def problems(*names):
    with pytest.raises(InputError) as told:
        verify_certificates(*names)
    return told.value.problems


def test_keys_are_asked_for_and_made_once(home, monkeypatch):
    with pytest.raises(InputError, match="type `unilogit certificates keygen`"):
        open_signer()
    with pytest.raises(InputError, match="type `unilogit certificates keygen`"):
        verify_certificates()
    said = keygen()
    keyid = open_signer().public_key.keyid
    assert said.startswith(f"{home / 'keys'}: made key {keyid}; the private key is not encrypted, as {PASSPHRASE}")
    with pytest.raises(InputError, match="there is a key already"):
        keygen()
    monkeypatch.setenv(PASSPHRASE, "secret")
    with pytest.raises(InputError, match="is not encrypted"):
        open_signer()


def test_a_passphrase_in_the_environment_encrypts(home, monkeypatch):
    monkeypatch.setenv(PASSPHRASE, "secret")
    assert "the private key is encrypted." in keygen()
    key = open_signer().public_key
    monkeypatch.setenv(PASSPHRASE, "")
    with pytest.raises(InputError, match="is encrypted; give its passphrase"):
        open_signer()
    monkeypatch.setenv(PASSPHRASE, "secret")
    assert open_signer().public_key == key


def test_a_certificate_is_for_its_owners_eyes_and_verifies(home, signer):
    file = write_certificate(certificate(), signer)
    assert file == home / "certificates" / "R-17.json" == certificate_file("R-17")
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)
    assert file.read_bytes() == sign(certificate(), signer)
    for names in (["R-17"], [str(file)]):
        assert verify_certificates(names) == f"{file}: it verifies"
    write_certificate(certificate("R-18"), signer)
    assert verify_certificates() == "2 certificates, and all of them verify"
    assert sorted(path.name for path in home.rglob("*") if path.is_file()) == [
        *("R-17.json", "R-18.json", PRIVATE_KEY, PUBLIC_KEY)
    ]


def test_a_second_certificate_of_the_same_version_changes_nothing(signer):
    file = write_certificate(certificate(), signer)
    before = file.read_bytes(), file.stat().st_mtime_ns
    assert write_certificate(certificate(residual_risk=["something else"]), signer) == file
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_one_about_another_version_is_kept_beside_it(home, signer):
    old = write_certificate(certificate(version="4"), signer).read_bytes()
    file = write_certificate(certificate(version="5"), signer)
    assert file.read_bytes() == sign(certificate(version="5"), signer)
    _, superseded = certificate_files()
    assert superseded.read_bytes() == old
    assert superseded.parent == home / "certificates" / "superseded"
    write_certificate(certificate(version="4"), signer)
    assert verify_certificates() == "3 certificates, and all of them verify"
    superseded.write_bytes(old.replace(b"payload", b"pAyload"))
    assert problems() == [f"{superseded}: not a DSSE envelope: it was cut off or changed"]


def test_every_changed_certificate_is_named(signer):
    files = [write_certificate(certificate(f"R-{place}"), signer) for place in range(4)]
    files[1].write_bytes(files[1].read_bytes() + b" ")
    files[2].write_bytes(files[2].read_bytes()[:-20])
    signatures = json.loads(files[0].read_bytes())["signatures"]
    files[3].write_text(json.dumps(json.loads(files[3].read_bytes()) | {"signatures": signatures}))
    told = problems()
    assert [problem.split(": ")[0] for problem in told] == [str(file) for file in files[1:]]
    assert "bytes around" in told[0]
    assert "cut off" in told[1]
    assert "signature does not verify" in told[2]
    assert problems(["R-0", "R-1"]) == told[:1]
    with pytest.raises(InputError, match="bytes around"):
        write_certificate(certificate("R-1"), signer)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_every_changed_byte_of_the_file_is_found(signer, data):
    file = write_certificate(certificate(), signer)
    envelope = file.read_bytes()
    place = data.draw(st.integers(0, len(envelope) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != envelope[place]))
    try:
        file.write_bytes(envelope[:place] + bytes([byte]) + envelope[place + 1 :])
        assert problems()[0].startswith(f"{file}: ")
    finally:
        file.write_bytes(envelope)


def test_a_certificate_in_the_place_of_anothers_is_named(signer):
    right, wrong = (write_certificate(certificate(name), signer) for name in ("R-17", "R-18"))
    wrong.write_bytes(right.read_bytes())
    assert problems() == [f"{wrong}: it is the certificate of request R-17: it was moved here from {right}"]
    with pytest.raises(InputError, match="it was moved here"):
        write_certificate(certificate("R-18"), signer)


def test_what_is_not_there_is_named(home, signer):
    assert problems(["R-99"]) == [
        f"{home / 'certificates' / 'R-99.json'}: there is no such certificate; `unilogit certificates list` shows those"
        " that there are"
    ]
    with pytest.raises(InputError, match=r"R-99\.json: there is no such certificate"):
        show_certificate("R-99")
    with pytest.raises(InputError, match=r"other\.pub: no such file"):
        verify_certificates(public_key=home / "other.pub")
    assert verify_certificates() == "0 certificates, and all of them verify"


def test_another_key_takes_over_and_the_earlier_one_goes_on_verifying(home, signer):
    file = write_certificate(certificate(), signer)
    keys = home / "keys"
    (keys / PRIVATE_KEY).unlink()
    (keys / PUBLIC_KEY).rename(keys / "until-2027.pub")
    keygen()
    write_certificate(certificate("R-18"), open_signer())
    assert write_certificate(certificate(), open_signer()) == file
    write_certificate(certificate(version="5"), open_signer())
    assert verify_certificates() == "3 certificates, and all of them verify"
    with pytest.raises(InputError, match="is signed with key"):
        verify_certificates(public_key=keys / "until-2027.pub")


NAMES = [
    "..",
    ".hidden",
    "a/b",
    "../../x",
    "Zoë 1",
    "x" * 200,
    "x" * 199 + "y",
    "%2E.",
    "NUL\0",
    "ß" * 200,
    "a\nb",
]


def test_every_name_has_a_file_of_its_own(home, signer):
    files = [write_certificate(certificate(name), signer) for name in NAMES]
    assert len(set(files)) == len(NAMES)
    assert all(file.parent == home / "certificates" and not file.name.startswith(".") for file in files)
    assert verify_certificates() == f"{len(NAMES)} certificates, and all of them verify"
    assert verify_certificates(NAMES) == f"{len(NAMES)} certificates, and all of them verify"
    assert certificate_files() == sorted(files)


def test_it_is_shown_and_listed(home, signer):
    file = write_certificate(certificate(), signer)
    first, rest = show_certificate("R-17").split("\n", 1)
    assert first == f"{file}: the signature verifies"
    assert json.loads(rest) == certificate().model_dump(mode="json", by_alias=True)
    assert show_certificate(str(file), home / "page.html") == f"{home / 'page.html'}: written"
    assert "The signature verifies" in (home / "page.html").read_text(encoding="utf-8")
    file.write_bytes(file.read_bytes() + b" ")
    assert show_certificate("R-17").startswith(f"{file}: does not verify: the bytes around")
    (home / "certificates" / "R-18.json").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"R-18\.json: not a DSSE envelope"):
        show_certificate("R-18")
    console = Console(width=300, record=True)
    print_certificates(console)
    text = console.export_text()
    assert [part for part in ("R-17", "example-assistant", "2026-03-01", "2026-03-02") if part not in text] == []
    assert "R-18.json: not a DSSE envelope" in text


def test_a_kill_at_any_instant_leaves_whole_certificates(home, signer):
    """Killed again and again, then done in peace: as if it had never been killed."""
    names = [f"R-{place}" for place in range(60)]
    for name in names:
        write_certificate(certificate(name, version="4"), signer)

    def work():
        for name in names:
            write_certificate(certificate(name, version="5"), signer)

    for pause in (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05):
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        time.sleep(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert verify_certificates().endswith(("verify", "verifies"))
    sweep_certificates()
    work()
    for name in names:
        assert certificate_file(name).read_bytes() == sign(certificate(name, version="5"), signer)
    superseded = [file for file in certificate_files() if file.parent.name == "superseded"]
    assert {file.name.split(".")[0] for file in superseded} == set(names)
    assert verify_certificates() == "120 certificates, and all of them verify"
    assert len([path for path in (home / "certificates").rglob("*") if path.is_file()]) == 120


def test_what_a_kill_left_of_a_key_is_removed(home):
    (home / "keys").mkdir(parents=True)
    (home / "keys" / f".{PRIVATE_KEY}.abc.key").write_text("half")
    keygen()
    assert sorted(file.name for file in (home / "keys").iterdir()) == [PRIVATE_KEY, PUBLIC_KEY]
