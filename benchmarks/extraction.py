"""Extraction beside a bare DuckDB semi-join of the same files: time and memory; and how many near-duplicates it finds.

    python -m benchmarks.extraction --sizes 100000 1000000 10000000

Makes a corpus of so many records in Parquet, and 10,000 requests: 9,000 subject ids and 1,000 texts (fewer of a small
corpus). Each run is a process of its own. The bare semi-join finds the records of the subject ids alone, exactly as
they are written, and writes the same two files; both runs force what they wrote onto the disk. Near-duplicates are
measured over `--near-records` records and copies of some of them with words changed or without the prompt. Writes
benchmarks/results/extraction-cpu.json and docs/extraction.svg.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq

from unilogit.data.extraction import extract_sets
from unilogit.data.holding import Rules

ROOT = Path(__file__).parents[1]
RECORDS_OF_A_PERSON = 10
SUBJECTS, TEXTS, COPIES = 9_000, 1_000, 2_000
THRESHOLD = 0.8
# Names and words by their numbers, in hexadecimal: cheap, and no two people share a name by chance often.
_CORPUS = """
COPY (
    SELECT 'r-' || i AS record_id, ['s-' || (i // {per_person})] AS subject_ids,
        'Where does ' || printf('%x', hash(i) % 1000003) || ' ' || printf('%x', hash(i + 1) % 1000033) || ' live now?'
            AS prompt,
        array_to_string(list_transform(range(16), lambda k: printf('%x', hash(i * 16 + k + 7) % 50021)), ' ')
            AS response,
        NULL::VARCHAR AS paraphrased_prompt, NULL::VARCHAR AS paraphrased_response,
        NULL::VARCHAR AS alternative_response, []::VARCHAR[] AS perturbed_responses, '' AS "group",
        []::VARCHAR[] AS history, NULL::VARCHAR AS system, NULL::VARCHAR AS conversation_id,
        'corpus.parquet' AS file, i + 1 AS row
    FROM range({count}) AS numbers(i)
) TO '{path}' (FORMAT parquet)
"""


def make_corpus(path: Path, count: int) -> None:
    """Records of some 22 words, ten of a person."""
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '1GB'")
        connection.execute(_CORPUS.format(count=count, path=path, per_person=RECORDS_OF_A_PERSON))


def make_requests(corpus: Path) -> pd.DataFrame:
    """Subject ids, and texts that are names from prompts of other people."""
    count = pq.read_metadata(corpus).num_rows
    people = count // RECORDS_OF_A_PERSON
    share = min(1.0, people / 10 / SUBJECTS)  # of a small corpus, not everybody asks
    subjects, texts = round(SUBJECTS * share), round(TEXTS * share)
    chosen = random.Random(0).sample(range(people), subjects + texts)
    rows = [person * RECORDS_OF_A_PERSON for person in chosen[subjects:]]
    with duckdb.connect() as connection:
        names = connection.execute(
            f"SELECT prompt[12:-10] FROM '{corpus}' WHERE row - 1 IN ({', '.join(map(str, rows))})"
        ).fetchall()
    asked = [{"subject_id": f"s-{person}"} for person in chosen[:subjects]] + [{"text": text} for (text,) in names]
    frame = pd.DataFrame(asked, columns=["subject_id", "text"]).astype("object")
    frame["request_id"] = [f"q-{number}" for number in range(len(frame))]
    return frame.assign(aliases=[[] for _ in asked], record_ids=[[] for _ in asked])


def add_copies(corpus: Path, requests: pd.DataFrame, target: Path) -> dict[str, str]:
    """Write the corpus and copies of the people's records, with none to four words of the response changed.

    Returns:
        record_id of each copy → that of its original.
    """
    rng = random.Random(1)
    people = requests["subject_id"].dropna().tolist()
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE people AS SELECT unnest(?) AS subject_id", [people])
        originals = connection.execute(
            f"SELECT * FROM '{corpus}' WHERE subject_ids[1] IN (SELECT subject_id FROM people)"
            f" ORDER BY row LIMIT {COPIES}"
        ).df()
        copies = originals.assign(record_id="copy of " + originals["record_id"], row=-originals["row"])
        copies["subject_ids"] = [[] for _ in range(len(copies))]
        copies["response"] = [_changed(text, rng) for text in copies["response"]]
        copies.loc[::3, "prompt"] = ""
        connection.register("copies", copies)
        columns = ", ".join(f'"{name}"' for name in pq.read_schema(corpus).names)
        connection.execute(
            f"COPY (SELECT {columns} FROM '{corpus}' UNION ALL SELECT {columns} FROM copies ORDER BY hash(record_id))"
            f" TO '{target}' (FORMAT parquet)"
        )
    return dict(zip(copies["record_id"], originals["record_id"], strict=True))


def _changed(text: str, rng: random.Random) -> str:
    """With other words: up to three at the end, and one anywhere in every third text."""
    words = text.split()
    places = list(range(len(words) - rng.randint(0, 3), len(words)))
    for place in places + ([rng.randrange(len(words))] if rng.random() < 1 / 3 else []):
        words[place] = f"{rng.randrange(16**6):06x}"
    return " ".join(words).upper()


def extract(corpus: Path, requests: pd.DataFrame, folder: Path, near_duplicates: Any) -> dict[str, Any]:
    """Extraction as a step does it."""
    files = [folder / f"{name}.parquet" for name in ("forget", "retain", "review")]
    rules = Rules(near_duplicates=near_duplicates, near_duplicate_threshold=THRESHOLD)
    sets = extract_sets(corpus, requests, requests[:0], *files, rules=rules)
    return {"forget": sets.forget, "retain": sets.retain, "near_duplicates": sets.near_duplicates}


def semi_join(corpus: Path, requests: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """The subject ids' records and the others, in plain SQL."""
    with duckdb.connect() as connection:
        connection.register("asked", requests[["subject_id"]].dropna())
        connection.execute(
            "CREATE TABLE matched AS SELECT DISTINCT record_id"
            f" FROM (SELECT record_id, unnest(subject_ids) AS subject_id FROM '{corpus}') SEMI JOIN asked"
            " USING (subject_id)"
        )
        counts = {}
        for name, word in (("forget", "IN"), ("retain", "NOT IN")):
            file = folder / f"{name}.parquet"
            query = f"SELECT * FROM '{corpus}' WHERE record_id {word} (SELECT record_id FROM matched)"
            connection.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
            counts[name] = pq.read_metadata(file).num_rows
    return counts


def run_one(kind: str, corpus: Path, requests: Path, folder: Path) -> dict[str, Any]:
    """What this process does, timed."""
    asked = pd.read_pickle(requests)
    start, worked = time.perf_counter(), time.process_time()
    counts = semi_join(corpus, asked, folder) if kind == "semi-join" else extract(corpus, asked, folder, kind)
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - worked,
        "peak_mib": _peak_mib(),
        **counts,
    }


def _peak_mib() -> float:
    """The most memory that this program had; getrusage would count what started it, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def in_process(kind: str, corpus: Path, requests: Path, folder: Path) -> dict[str, Any]:
    """`run_one` in a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", "benchmarks.extraction", "--one", kind, str(corpus), str(requests), str(folder)]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(kind, result, flush=True)
    return result


def measure_size(count: int, folder: Path) -> dict[str, Any]:
    """Extraction without and with near-duplicates, and the semi-join, of one corpus."""
    corpus, requests, output = folder / "corpus.parquet", folder / "requests.pickle", folder / "sets"
    make_corpus(corpus, count)
    asked = make_requests(corpus)
    asked.to_pickle(requests)
    output.mkdir(exist_ok=True)
    runs = {kind: in_process(kind, corpus, requests, output) for kind in ("semi-join", "off", "forget")}
    return {
        "records": count,
        "requests": len(asked),
        "corpus_mib": corpus.stat().st_size / 2**20,
        "runs": runs,
        "speed_beside_semi_join": {k: runs["semi-join"]["seconds"] / runs[k]["seconds"] for k in ("off", "forget")},
    }


def measure_near_duplicates(count: int, folder: Path) -> dict[str, Any]:
    """Recall and precision on planted copies, against Jaccard similarity made anew in Python."""
    plain, corpus, requests, output = (folder / name for name in ("plain.parquet", "corpus.parquet", "asked", "near"))
    make_corpus(plain, count)
    asked = make_requests(plain)
    asked = asked[asked["text"].isna()].reset_index(drop=True)
    originals = add_copies(plain, asked, corpus)
    plain.unlink()
    asked.to_pickle(requests)
    output.mkdir(exist_ok=True)
    run = in_process("forget", corpus, requests, output)
    forget = pd.read_parquet(output / "forget.parquet").set_index("record_id")
    retain = pd.read_parquet(output / "retain.parquet", filters=[("record_id", "in", list(originals))]).set_index(
        "record_id"
    )
    everything = pd.concat([forget, retain])
    is_planted = {
        copy: similarity(everything.loc[copy], everything.loc[original]) >= THRESHOLD
        for copy, original in originals.items()
    }
    copies = set(forget.index[forget["match"] == "near-duplicate"])
    wanted = {copy for copy, planted in is_planted.items() if planted}
    return {
        "records": count + len(originals),
        "copies_at_threshold": len(wanted),
        "copies_below_it": len(originals) - len(wanted),
        "recall": len(copies & wanted) / len(wanted),
        "precision": len(copies & wanted) / len(copies),
        **{name: run[name] for name in ("seconds", "peak_mib")},
    }


def similarity(copy: pd.Series, original: pd.Series) -> float:
    """The higher Jaccard similarity of word shingles: of the whole records, or of the responses."""
    whole = _jaccard(*(f"{record['prompt']} {record['response']}" for record in (copy, original)))
    return max(whole, _jaccard(copy["response"], original["response"]))


def _jaccard(*texts: str) -> float:
    left, right = (set(_shingles(text.lower().replace("?", "").split())) for text in texts)
    return len(left & right) / len(left | right)


def _shingles(words: list[str]) -> Iterator[tuple[str, ...]]:
    return zip(words, words[1:], words[2:], strict=False)


def draw(sizes: Iterable[dict[str, Any]], figure: Path) -> None:
    """Time and peak memory by size, as a figure."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "extraction"
    from matplotlib import pyplot as plt

    titles = {"semi-join": "bare semi-join", "off": "extraction", "forget": "extraction with near-duplicates"}
    panels = {"seconds": "seconds", "peak_mib": "peak memory, MiB"}
    sizes = list(sizes)
    picture, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, (measure, label) in zip(axes, panels.items(), strict=True):
        for kind, title in titles.items():
            values = [size["runs"][kind][measure] for size in sizes]
            axis.plot([size["records"] for size in sizes], values, marker="o", label=title)
        axis.set(xscale="log", xlabel="records of the corpus", ylabel=label)
    axes[0].set_yscale("log")
    axes[1].set_ylim(0, 2200)
    axes[1].axhline(2048, color="grey", linestyle=":")
    axes[0].legend(frameon=False, loc="lower right")
    picture.savefig(figure, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--near-records", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="for some gigabytes of temporary files; default: the system's")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "extraction-cpu.json")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "extraction.svg")
    parser.add_argument("--one", nargs=4, metavar=("KIND", "CORPUS", "REQUESTS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, *paths = options.one
        print(json.dumps(run_one(kind, *map(Path, paths))))
        return
    from benchmarks.measure import write_result  # with torch, whose memory no run should have

    result: dict[str, Any] = {"cores": os.cpu_count(), "sizes": []}
    with TemporaryDirectory(dir=options.folder) as folder:
        result["near_duplicates"] = measure_near_duplicates(options.near_records, Path(folder))
        print(result["near_duplicates"], flush=True)
    for size in options.sizes:
        with TemporaryDirectory(dir=options.folder) as folder:
            result["sizes"].append(measure_size(size, Path(folder)))
        write_result(options.out, "cpu", result)
    draw(result["sizes"], options.figure)
    print(options.out)


if __name__ == "__main__":
    main()
