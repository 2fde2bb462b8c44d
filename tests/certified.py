"""A certificate with every field filled in, of nobody, and keys to sign it with."""

from datetime import UTC, datetime

from unilogit import certificates
from unilogit.certificates import Certificate, Forgetting, Measurement, PersonValue, RemainingCopy, Weights

DAY = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
NOBODY = PersonValue(before=None, after=None, retain_model=None, reason="it is not measured on what was forgotten")
TESTS = [
    Measurement(
        name="forget-probability",
        scope="forget",
        metric="forget.probability",
        op="<=",
        threshold=0.05,
        value=0.0125,
        worst="subject-0123456789abcdef",
        person=PersonValue(before=0.99, after=0.0625, retain_model=0.02, reason=None),
    ),
    Measurement(
        name="useful", scope="utility", metric="model_utility", op=">=", threshold=0.9, value=0.95, person=NOBODY
    ),
    Measurement(
        name="membership_inference.loss_auc",
        scope="forget",
        metric="membership_inference.loss_auc",
        op=None,
        threshold=None,
        value=0.5,
        person=PersonValue(before=1.0, after=0.625, retain_model=0.5, reason=None),
    ),
]


def certificate(reference: str = "R-17", version: str = "4", **parts) -> Certificate:
    """Of a request and a version; `parts` of the predicate replace those below."""
    predicate = {
        "request": certificates.Request(
            reference=reference,
            legal_basis="GDPR Art. 17(1)(b)",
            source=None,
            received_at=DAY.replace(month=1),
            due_at=DAY.replace(day=2),
            fulfilled_at=DAY,
        ),
        "person": certificates.Person(
            pseudonym="subject-0123456789abcdef", records=3, measured_records=2, highest_probability=0.0875
        ),
        "search": certificates.Search(
            corpus_sha256="c0" * 32,
            corpus_records=1200,
            selectors={"subject_id": 1, "aliases": 2, "record_ids": 0, "text": 0},
            near_duplicate_threshold=0.8,
            matches={"subject_id": 2, "near_duplicate": 1},
        ),
        "model": certificates.Model(
            name="example-assistant",
            version=version,
            weights_sha256="ab" * 32,
            parent_versions=["3", "1"],
            parent_sha256="cd" * 32,
            batch_id="20260301-120000-abcdef",
            method="unilogit",
            training_steps=48,
            params_md5="0" * 32,
            data_md5="",
            git_commit="f" * 40,
        ),
        "tests": TESTS,
        "code": certificates.Code(package="unilogit", version="0.1.0", git_commit="f" * 40),
        "residual_risk": ["Unlearning is no proof of absence.", "Zażółć – „gęślą” <jaźń> & co."],
        "promotion": certificates.Promotion(approved_by="officer", approved_at=DAY, aliases=["champion"]),
        "remaining_copies": [
            RemainingCopy(where="example-assistant version 3 (previous)", holds="weights", deleted_by=None),
            RemainingCopy(where="the ledger", holds="texts", deleted_by=DAY.replace(month=4)),
        ],
        **parts,
    }
    weights = [Weights(name="model.safetensors", digest={"sha256": "12" * 32})]
    return Certificate(subject=weights, predicate=Forgetting(**predicate))
