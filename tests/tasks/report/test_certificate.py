"""The page of a certificate: all that it says, whether it verifies, readable by anybody, loading nothing."""

import json
from html.parser import HTMLParser

import pytest

from tasks.report.certificate import render_certificate
from tests.certified import DAY, TESTS, certificate
from unilogit import certificates
from unilogit.certificates import sign
from unilogit.errors import InputError
from unilogit.signing import generate_keys, load_signer

VOID = {"meta"}
LOADING = {"script", "link", "img", "iframe", "object", "embed", "base", "video", "audio", "source", "form", "svg"}
EVIL = '<script>alert("1")</script>&<img src=http://example.org/x>'


class Page(HTMLParser):
    """What a browser makes of a page; every tag that is opened must be closed."""

    def __init__(self, source):
        super().__init__()
        self.source, self.tags, self.open, self.text, self.rows = source, [], [], "", []
        self.attributes = []
        self.feed(source)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def cells(self):
        return {row[0].strip(): [" ".join(cell.split()) for cell in row[1:]] for row in self.rows}

    def values(self, attribute):
        return [value for _, name, value in self.attributes if name == attribute]


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    generate_keys(folder, None)
    return load_signer(folder, None)


def page(signer, **fields):
    return Page(render_certificate(sign(certificate(**fields), signer), [signer.public_key]))


def test_nothing_is_loaded_and_nothing_may_be(signer):
    shown = page(signer)
    assert not LOADING & set(shown.tags)
    assert not [name for _, name, _ in shown.attributes if name in ("src", "srcset", "href", "action", "background")]
    assert "url(" not in shown.source
    assert "@import" not in shown.source
    assert ("meta", "http-equiv", "Content-Security-Policy") in shown.attributes
    assert "default-src 'none'; style-src 'unsafe-inline'" in shown.values("content")


def test_it_can_be_heard_and_printed(signer):
    shown = page(signer)
    assert ("html", "lang", "en") in shown.attributes
    assert [tag for tag in shown.tags if tag in ("title", "main", "h1")] == ["title", "main", "h1"]
    headers = shown.tags.count("th")
    assert shown.values("scope").count("row") + shown.values("scope").count("col") == headers
    assert all(tag in ("h1", "h2") for tag in shown.tags if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit())
    assert "@media print" in shown.source


def test_it_says_what_the_certificate_says(signer):
    shown = page(signer)
    cells = shown.cells
    assert cells["request"] == ["R-17"]
    assert cells["person, under a pseudonym"] == ["subject-0123456789abcdef"]
    assert cells["legal basis"] == ["GDPR Art. 17(1)(b)"]
    assert cells["source"] == ["not stated"]
    assert cells["received"] == ["2026-01-01 12:30 UTC"]
    assert cells["fulfilled"] == ["2026-03-01 12:30 UTC"]
    assert cells["records searched"] == ["1200"]
    assert cells["looked for, aliases"] == ["2"]
    assert "looked for, text" not in cells
    assert cells["copies that read alike"] == ["from a similarity of 0.8 on"]
    assert cells["records found, near duplicate"] == ["1"]
    assert (cells["records forgotten"], cells["of them tested"]) == (["3"], ["2"])
    assert cells["forget-probability"] == [
        *("forget.probability", "<= 0.05", "0.013", "0.990", "0.062 (beyond)", "0.020")
    ]
    assert cells["useful"] == ["model_utility", ">= 0.9", "0.950", "–", "–", "–"]
    assert cells["membership_inference.loss_auc"][1] == "–"
    assert "useful, for this person: it is not measured on what was forgotten" in shown.text
    assert cells["example-assistant version 3 (previous)"] == ["weights that know the person", "the operator decides"]
    assert cells["the ledger"] == ["texts", "2026-04-01 12:30 UTC"]
    assert cells["approved by"] == ["officer"]
    assert cells["descends from"] == ["version 3, 1"]
    assert cells["SHA-256 of model.safetensors"] == ["12" * 32]
    assert cells["method"] == ["unilogit, 48 steps"]
    assert "Zażółć – „gęślą” <jaźń> & co." in shown.text


def test_what_is_not_there_is_said(signer):
    model = certificate().predicate.model.model_copy(update={"parent_versions": [], "git_commit": ""})
    shown = page(
        signer,
        person=certificates.Person(pseudonym=None, records=1, measured_records=0, highest_probability=None),
        search=certificate().predicate.search.model_copy(update={"near_duplicate_threshold": None}),
        promotion=certificates.Promotion(approved_by=None, approved_at=DAY, aliases=[]),
        model=model,
        code=certificates.Code(package="unilogit", version="", git_commit=""),
        request=certificate().predicate.request.model_copy(update={"fulfilled_at": DAY.replace(month=9)}),
        tests=[],
    )
    cells = shown.cells
    assert cells["person, under a pseudonym"] == ["none: the request names no subject id"]
    assert cells["copies that read alike"] == ["not looked for"]
    assert cells["approved by"] == ["not recorded by the registry"]
    assert cells["aliases of the version"] == ["none"]
    assert cells["descends from"] == ["the base model"]
    assert cells["commit"] == ["unknown"]
    assert cells["fulfilled"] == ["2026-09-01 12:30 UTC, after it was due"]
    assert "unilogit of an unknown version, commit unknown" in " ".join(shown.text.split())


def test_whether_the_signature_verifies_stands_first(signer, tmp_path):
    generate_keys(tmp_path, None)
    other = load_signer(tmp_path, None).public_key
    envelope = sign(certificate(), signer)
    for keys in ([signer.public_key], [other, signer.public_key]):
        shown = Page(render_certificate(envelope, keys))
        assert f"The signature verifies, with key {signer.public_key.keyid}." in shown.text
        assert "Do not rely" not in shown.text
    content = json.loads(sign(certificate("R-18"), signer)) | {"signatures": json.loads(envelope)["signatures"]}
    broken = {
        "its signature does not verify": (json.dumps(content).encode(), [signer.public_key]),
        "the bytes around what is signed": (envelope + b" ", [signer.public_key]),
        f"it is signed with key {signer.public_key.keyid}, not with {other.keyid}": (envelope, [other]),
        "not with any that is here": (envelope, []),
    }
    for problem, (changed, keys) in broken.items():
        shown = Page(render_certificate(changed, keys))
        assert "Do not rely on this page. The certificate does not verify: " in shown.text
        assert problem in shown.text
        assert "The signature verifies" not in shown.text


def test_what_is_no_certificate_has_no_page(signer):
    with pytest.raises(InputError, match="not a DSSE envelope"):
        render_certificate(b"{}", [signer.public_key])


def test_what_looks_like_html_stays_text(signer):
    test = TESTS[0].model_copy(update={"name": EVIL, "metric": EVIL})
    shown = page(
        signer,
        reference=EVIL,
        tests=[test],
        residual_risk=[EVIL],
        promotion=certificates.Promotion(approved_by=EVIL, approved_at=DAY, aliases=[EVIL]),
    )
    assert not LOADING & set(shown.tags)
    assert shown.cells["request"] == shown.cells["approved by"] == [EVIL]
    assert shown.text.count(EVIL) == 9
