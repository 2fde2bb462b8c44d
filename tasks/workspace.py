"""Where state lives, and a run's folder: every path in it, and the model of every file in it.

Knows nothing of who writes a file or why; tasks/steps/ declares that. Longer than other modules, as it is the one
list of what a run leaves behind.
"""

import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from unilogit.errors import InputError
from unilogit.evaluation.stopwatch import add_seconds, tell_seconds
from unilogit.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from unilogit.data.pseudonyms import Pseudonyms as KeyedPseudonyms


DEFAULT_HOME = "var"


def home() -> Path:
    """UNILOGIT_HOME, `./var` by default, as an absolute path."""
    return Path(os.environ.get("UNILOGIT_HOME", DEFAULT_HOME)).absolute()


def use_home() -> Path:
    """Make `home()`, close it to others, and let Prefect keep its state there too; call it before Prefect is imported.

    Raises:
        InputError: it is another user's, and others may read it.
    """
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    if (mode := folder.stat().st_mode) & 0o077:
        try:
            folder.chmod(stat.S_IMODE(mode) & 0o700)
        except PermissionError:
            problem = (
                f"{folder}: others may read it, and it is another user's; make it yours with chown, then chmod 700"
            )
            raise InputError(problem) from None
    os.environ.setdefault("PREFECT_HOME", str(folder / "prefect"))
    return folder


def ledger_location() -> Path | str:
    """UNILOGIT_LEDGER, a SQLAlchemy URL, or SQLite in `home()`."""
    return os.environ.get("UNILOGIT_LEDGER") or home() / "ledger.db"


def mlflow_database() -> Path:
    """Where runs and versions are, unless MLFLOW_TRACKING_URI names another store."""
    return home() / "mlflow.db"


def keys_folder() -> Path:
    """The keys that certificates are signed with."""
    return home() / "keys"


def certificates_folder() -> Path:
    """A certificate for each fulfilled request."""
    return home() / "certificates"


def defects_folder() -> Path:
    """What errors of ours said, a file each; it may quote somebody."""
    return home() / "defects"


def run_folder(batch_id: str) -> Path:
    """The workspace of a batch."""
    return home() / "runs" / batch_id


def intake_folders() -> list[Path]:
    """Every one that there is."""
    return sorted((home() / "intake").glob("*"))


def intake_folder(digest: str) -> Path:
    """The workspace in which a request file with this content was taken in."""
    return home() / "intake" / digest[:16]


def trained_models() -> Path:
    """Retain models that were trained here, by what they were trained on: a retry does not train them again."""
    return home() / "retain_models"


def measurements() -> Path:
    """What was measured of models, a folder for each measurement: see tasks/measurements.py."""
    return home() / "measurements"


def reproductions() -> Path:
    """Where versions are made again; with data that are there only meanwhile, so that a purge removes all of it."""
    return home() / "reproductions"


def pseudonyms() -> "KeyedPseudonyms":
    """The pseudonyms of this home; their key is made when there is none, and never twice.

    Raises:
        InputError: the key's file is damaged.
    """
    from unilogit.data.pseudonyms import Pseudonyms as KeyedPseudonyms

    return KeyedPseudonyms(_secret_key("pseudonyms"))


def webhook_secret() -> str:
    """What MLflow signs its webhooks to this home with; made when there is none, and never twice.

    Raises:
        InputError: its file is damaged.
    """
    return _secret_key("webhook").hex()


def _secret_key(name: str) -> bytes:
    """32 random bytes of this home."""
    from filelock import FileLock

    file = keys_folder() / f"{name}.key"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        with FileLock(file.with_suffix(".lock")):
            for unfinished in file.parent.glob(f".{file.name}.*"):  # a kill's
                unfinished.unlink()
            if not file.exists():
                write_text(file, secrets.token_hex(32))  # for its owner's eyes only, as all temporary files are
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise InputError(f"{file}: is no key of 32 bytes in hexadecimal; put it back from a backup")
    return key


class Place(StrEnum):
    """A file or folder of a workspace, by its path in it."""

    # deletion requests
    REQUESTS = "requests/current.parquet"
    EARLIER_REQUESTS = "requests/earlier.parquet"
    APPROVALS = "requests/approvals.json"  # what a request is called → what a person approved, as it was held for it
    SNAPSHOTS = "requests/snapshots.json"  # paths of forget sets of other batches, the latest last
    SUPPRESSIONS = "requests/suppressions.json"
    REQUEST_COUNTS = "requests/counts.json"
    REFUSED_REQUESTS = "quarantine/requests.jsonl"
    REQUEST_DOCS = "data_docs/requests"
    # the corpus
    CORPUS = "validated/corpus.parquet"
    CORPUS_COUNTS = "validated/counts.json"
    EARLIER_CORPUS_COUNTS = "validated/earlier.json"  # of the batch before, where there is one
    REFERENCE_DOCS = "data_docs/references"
    REFUSED_RECORDS = "quarantine/corpus.jsonl"
    CORPUS_DOCS = "data_docs/corpus"
    CORPUS_TOTALS_DOCS = "data_docs/totals"
    # the sets
    DATA = "data"
    FORGET = "data/forget.parquet"
    RETAIN = "data/retain.parquet"
    HOLDOUT = "data/holdout.parquet"
    NEIGHBOURS = "data/neighbours.parquet"
    IN_REVIEW = "data/near_duplicates.parquet"
    SUPPRESSED = "data/suppressed.csv"  # where in the corpus, and by which purged request it is known
    EXTRACTION = "data/extraction.json"
    DATA_POINTER = "data.dvc"
    # the models
    PARENT = "parent.json"
    PARENT_FILES = "parent"
    START_FILES = "start"
    FAMILIARITY = "familiarity.json"
    TARGETS = "targets.parquet"  # of each forget token, log of the probability that it is driven to
    TARGET_SOURCE = "targets.json"
    RETAIN_MODEL = "retain_model/retain_model.json"
    RETAIN_MODEL_FILES = "retain_model/model"
    MODEL = "model"
    CHECKPOINTS = "checkpoints"
    TRAINING = "training.json"
    CURVES = "curves.jsonl"  # what is logged while the model is trained, as it is logged
    LOSS_CURVES = "loss.csv"
    RUN_PARAMS = "params.json"
    # measurements
    ATTACKS = "attacks"
    ATTACK_METRICS = "attacks/metrics.json"
    MEASURED = "evaluation/models"
    METRICS = "evaluation/metrics.json"
    BASELINE_MODELS = "baselines"
    BASELINES = "evaluation/models/baselines.csv"
    # the verdict
    GATES = "gates.json"
    VERDICT = "verdict.json"
    PLOTS = "plots"
    REPORT = "report.html"
    LOGGED_REPORT = "logged/report.html"
    PSEUDONYMS = "subjects.json"
    REGISTRATION = "registration.json"
    VERSION_PARAMS = "version_params.json"
    # the example's folder
    EXAMPLE_CORPUS = "corpus.jsonl"
    EXAMPLE_HOLDOUT = "holdout.jsonl"
    EXAMPLE_REQUESTS = "requests"
    STAMPS = ".stamps"


class FileModel(BaseModel):
    """What one JSON file of a workspace holds; `place` is where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: ClassVar[Place]
    schema_version: Literal[1] = 1


Kind = TypeVar("Kind", bound=FileModel)


@dataclass(frozen=True)
class Workspace:
    """The folder of one run.

    Attributes:
        root: the folder; its name is the batch's id where a batch is worked on in it.
    """

    root: Path

    @property
    def is_batch(self) -> bool:
        """Whether a batch of the ledger is worked on in it; not so of `dvc repro`, or of commands typed one by one."""
        return self.root.absolute() == run_folder(self.root.name)

    def path(self, place: Place, *names: str) -> Path:
        """Where a place is, or something inside it."""
        return self.root.joinpath(place, *names)

    def has(self, place: Place) -> bool:
        return self.path(place).exists()

    def read(self, kind: type[Kind]) -> Kind:
        """The file of this kind.

        Raises:
            InputError: it is not there: its step has not been run yet.
        """
        file = self.path(kind.place)
        try:
            return kind.model_validate(read_json(file))
        except FileNotFoundError:
            raise InputError(f"{file}: no such file; the step that writes it has not been run yet") from None

    def write(self, content: FileModel) -> None:
        write_json(self.path(content.place), content.model_dump(mode="json"))

    def sweep(self) -> None:
        """Remove what a killed run was in the midst of writing; call it while nobody writes here."""
        for path in self.root.rglob(".*"):
            if path.name == Place.STAMPS:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def baseline(self, method: str) -> "Workspace":
        """The workspace of another method's model, to compare with."""
        return Workspace(self.path(Place.BASELINE_MODELS, method))

    def measured(self, role: str) -> tuple[Path, Path]:
        """Of the model in a role: what measuring it took, and a row for each record."""
        return self.path(Place.MEASURED, f"{role}.json"), self.path(Place.MEASURED, f"{role}.parquet")

    def attacked(self, role: str, attack: str) -> Path:
        """What an attack on the model in a role gave, a row for each record."""
        return self.path(Place.ATTACKS, f"{role}-{attack}.parquet")

    def attack_curve(self, attack: str) -> Path:
        """The curves of an attack, a row for each model and point."""
        return self.path(Place.ATTACKS, f"{attack}.csv")


class RowCounts(FileModel):
    """What became of the rows of one input. Counts only, nobody's data.

    Attributes:
        repeated: exact repeats, which are neither good nor quarantined.
        expectations: what was expected, in numbers.
        warnings: a sentence for what is odd about the rows as a whole; it stops nothing.
    """

    name: ClassVar[str]

    rows: int
    quarantined: int
    repeated: int = 0
    good: int
    expectations: list["ExpectationResult"]
    warnings: list[str]

    def __str__(self) -> str:
        repeats = f", {self.repeated} exact repeats" if self.repeated else ""
        told = f"{self.name}: {self.good} good of {self.rows} rows ({self.quarantined} set aside{repeats})"
        return "\n".join([*(f"warning: {warning}" for warning in self.warnings), told])


class ExpectationResult(BaseModel):
    """One expectation in numbers."""

    expectation: str
    columns: list[str]
    success: bool
    unexpected_count: int


class Suppressions(FileModel):
    """The suppression list as a batch was taken with it: keyed digests of the people of purged requests.

    Attributes:
        key_check: by what the key of the digests is known again; empty where there are none.
        digests: digest → reference of the request.
    """

    place = Place.SUPPRESSIONS

    key_check: str = ""
    digests: dict[str, str] = {}


class RequestCounts(RowCounts):
    place = Place.REQUEST_COUNTS
    name = "requests"


class CorpusCounts(RowCounts):
    """What became of the corpus.

    Attributes:
        response_length: mean of the good records, in characters; None where there is none.
    """

    place = Place.CORPUS_COUNTS
    name = "corpus"

    response_length: float | None


class Extraction(FileModel):
    """What was found, in counts and by what requests are called.

    Attributes:
        requests: how many requests the batch has.
        forget, earlier, retain, holdout, neighbours: records; `neighbours` are some of `retain`.
        near_duplicates: of the records to forget, those that only read nearly like one that was matched.
        in_review: records that read nearly like a matched one and wait for a person's decision; in no set.
        suppressed: records of the corpus and the holdout whose people's requests are purged; in no set.
        not_found: requests of which nothing is in the corpus, and which are not held.
        held: requests that a person must look at first → why: a reason, a colon, a sentence.
        warnings: a sentence for all that a person should know: what matches nothing, what matches in another spelling.
        matches: request → kind of match → records.
    """

    place = Place.EXTRACTION

    requests: int
    forget: int
    earlier: int
    retain: int
    holdout: int
    neighbours: int
    near_duplicates: int = 0
    in_review: int = 0
    suppressed: int = 0
    not_found: list[str] = []
    held: dict[str, list[str]] = {}
    warnings: list[str]
    matches: dict[str, dict[str, int]] = {}

    def __str__(self) -> str:
        waiting = f"; {len(self.held)} requests wait for a person's decision" if self.held else ""
        return "\n".join(
            [
                *(f"warning: {warning}" for warning in self.warnings),
                f"{self.requests} requests: {self.forget} records to forget, {self.earlier} from earlier batches to"
                f" keep forgotten, {self.retain} to retain, {self.holdout} of unseen people{waiting}",
            ]
        )


class ParentModel(FileModel):
    """The model a batch starts from.

    Attributes:
        model: a folder or hub name.
        version: the registered version; None for the base model.
        files_sha256: digest of the folder's files, or the hub name again.
        start: folder of the weights that unlearning goes on from; None for the model's own.
        start_version: the registered version that they are of.
        start_sha256: digest of that folder's files.
    """

    place = Place.PARENT

    model: str
    version: str | None
    files_sha256: str
    start: str | None = None
    start_version: int | None = None
    start_sha256: str | None = None

    def __str__(self) -> str:
        told = f"starts from {self.model}" + (f" (version {self.version})" if self.version else "")
        return f"{told}; unlearning goes on from version {self.start_version}" if self.start else told


class ParentFamiliarity(FileModel):
    """Whether the parent knows its own training records.

    Attributes:
        unfamiliar: what speaks against it, in words that go after its name; None where nothing does.
        told: what was compared, with the numbers.
    """

    place = Place.FAMILIARITY

    unfamiliar: str | None
    told: str

    def __str__(self) -> str:
        warning = f"warning: the model before {self.unfamiliar}\n" if self.unfamiliar else ""
        return f"{warning}the model before: {self.told}"


class TokenTargets(FileModel):
    """What forget tokens are driven to.

    Attributes:
        source: base, neighbours or unseen, as `unilogit.training.targets` has them; None for 1/V.
        told: that, why, and how good each source is.
        correlation, recall: of each source that was measured.
    """

    place = Place.TARGET_SOURCE

    source: str | None
    told: str
    correlation: dict[str, float]
    recall: dict[str, float]

    def __str__(self) -> str:
        return self.told


class RetainModel(FileModel):
    """The retain model of a batch.

    Attributes:
        model: its folder, or None where there is none.
        files_sha256: digest of the folder's files; None without one.
        description: what there is to say about it; without one, why there is none.
        check: what was found of whether it knows whom it must not; empty without one.
    """

    place = Place.RETAIN_MODEL

    model: str | None
    files_sha256: str | None
    description: str
    check: str = ""

    def __str__(self) -> str:
        if self.model is None:
            return f"retain model: none; {self.description}; what needs one will say that it is not available"
        return f"retain model: {self.description}" + (f"; {self.check}" if self.check else "")


class Training(FileModel):
    """How the unlearned model came about.

    Attributes:
        epochs: passes over the forget set, a part of one counted as such.
        steps: optimiser steps.
        stop_rule: when forgetting was to stop, in a sentence.
        processes: how many shared the work.
        history: a dict for each logged step.
    """

    place = Place.TRAINING

    method: str
    epochs: float
    steps: int
    stop_rule: str
    processes: int
    weights_sha256: str
    history: list[dict[str, float]]

    def __str__(self) -> str:
        kept = "" if self.kept_step is None else f" (its weights are as after {self.kept_step})"
        return f"{self.method}, {self.steps} optimiser steps{kept}, weights {self.weights_sha256[:12]}"

    @property
    def kept_step(self) -> int | None:
        """After which step the weights were as they are kept; None for the last."""
        return next((int(entry["kept_step"]) for entry in self.history if "kept_step" in entry), None)


class AttackMetrics(FileModel):
    """What attacks found.

    Attributes:
        metrics: role of a model → metric → number; None where there is none.
        unavailable: role → metric that is None → why.
        incomplete: role → metric that leaves something out → what, and why.
    """

    place = Place.ATTACK_METRICS

    metrics: dict[str, dict[str, float | None]]
    unavailable: dict[str, dict[str, str]]
    incomplete: dict[str, dict[str, str]]

    def __str__(self) -> str:
        return (
            "\n".join(f"attacks on {role}: {len(metrics)} metrics" for role, metrics in self.metrics.items()) or "none"
        )


class Measured(BaseModel):
    """What measuring one model took.

    Attributes:
        seconds: what took how long.
        generated_tokens: how many were generated meanwhile.
        earlier: what was taken from an earlier measurement instead.
    """

    schema_version: Literal[1] = 1
    seconds: dict[str, float] = {}
    generated_tokens: int = 0
    earlier: list[str] = []

    def __add__(self, addition: "Measured") -> "Measured":
        return Measured(
            seconds=add_seconds([self.seconds, addition.seconds]),
            generated_tokens=self.generated_tokens + addition.generated_tokens,
            earlier=self.earlier + addition.earlier,
        )

    def __str__(self) -> str:
        told = [tell_seconds(self.seconds, self.generated_tokens)] if self.seconds else []
        if self.earlier:
            told.append(f"taken from an earlier measurement: {', '.join(self.earlier)}")
        return "; ".join(told) or "not measured"


class WorstPerson(BaseModel):
    """Whom of the forgotten a model remembers best.

    Attributes:
        person: pseudonym.
        value: the metric over that person's records; None where it is of all people together.
    """

    person: str
    value: float | None


class Metrics(FileModel):
    """The models side by side, each as section → metric → number (None: not available), or a number that stands alone.

    Attributes:
        before, after, retain_model: the parent, the unlearned model, and the retain model where there is one.
        unavailable: dotted path of each None, without `after` → why.
        incomplete: dotted path of each number that leaves something out, without `after` → what, and why.
        worst: dotted path of a metric after → whom of the forgotten the model remembers best by it.
        standard_errors: dotted path of a metric after that chance moves → by how much.
    """

    place = Place.METRICS

    before: dict[str, JsonValue]
    after: dict[str, JsonValue]
    retain_model: dict[str, JsonValue] | None
    unavailable: dict[str, str]
    incomplete: dict[str, str] = {}
    worst: dict[str, WorstPerson] = {}
    standard_errors: dict[str, float] = {}


class Verdict(FileModel):
    """Whether the gates passed, as a whole and by scope; None of a scope without a gate."""

    place = Place.VERDICT

    passed: bool
    forget: bool | None
    utility: bool | None
    robustness: bool | None


class Registration(FileModel):
    """The registered version and whether it is a candidate.

    Attributes:
        version: of `registered_model`, as MLflow writes it.
        alias: `candidate`; None when a gate failed, a newer version has it, or this is an experiment.
        gates: passed | failed.
        tags: of the version.
    """

    place = Place.REGISTRATION

    registered_model: str
    version: str
    run_id: str
    alias: str | None
    gates: str
    tags: dict[str, str]

    def __str__(self) -> str:
        state = self.alias or f"gates {self.gates}: no alias"
        return f"{self.registered_model} version {self.version}, {state}"


class Pseudonyms(FileModel):
    """Pseudonym → subject id. Personal data: stays in the workspace."""

    place = Place.PSEUDONYMS

    subjects: dict[str, str]
