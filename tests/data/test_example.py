"""The example: nobody's facts can be guessed from another's, and its requests hold every kind of trouble."""

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unilogit.data.corpus import read_records
from unilogit.data.example import generate_example
from unilogit.data.request_files import read_requests
from unilogit.data.requests import as_request
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_file


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    generate_example(folder)
    return folder


@pytest.fixture(scope="module")
def corpus(folder):
    return read_records(folder / "corpus.jsonl")


@pytest.fixture(scope="module")
def holdout(folder):
    return read_records(folder / "holdout.jsonl")


def people_of(records):
    return {subject for record in records for subject in record.subject_ids}


def name_of(person, records):
    """The two capitalised words that all of somebody's own prompts share."""
    prompts = [set(re.findall(r"\w+", r.prompt)) for r in records if r.subject_ids == [person]]
    return " ".join(word for word in re.findall(r"\w+", records[0].prompt) if word in set.intersection(*prompts))


def test_the_same_arguments_give_the_same_bytes_in_another_process_too(tmp_path):
    generate_example(tmp_path, people=12, unseen_people=4, seed=7)
    first = contents(tmp_path)
    assert set(first) == {"corpus.jsonl", "holdout.jsonl", "requests/requests-001.csv", "example.json"}
    generate_example(tmp_path, people=12, unseen_people=4, seed=8)
    assert all(content != first[name] for name, content in contents(tmp_path).items())
    arguments = ["--folder", str(tmp_path), "--people", "12", "--unseen-people", "4", "--seed", "7"]
    subprocess.run(
        [sys.executable, "-m", "unilogit.data.example", *arguments],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        check=True,
    )
    assert contents(tmp_path) == first


def test_the_stamp_says_what_was_made(folder, corpus, holdout):
    stamp = read_json(folder / "example.json")
    assert stamp["arguments"] == {"people": 120, "unseen_people": 30, "seed": 0}
    assert stamp["corpus_sha256"] == sha256_file(folder / "corpus.jsonl")
    told = f"{folder}: {len(corpus)} records of 120 people and the world, {len(holdout)} of 30 unseen people, 21 rows"
    assert stamp["summary"] == f"{told} of deletion requests"


def test_everybody_has_8_to_12_facts_of_their_own_and_some_share_one(corpus, holdout):
    for records, count in ((corpus, 120), (holdout, 30)):
        own = Counter(record.subject_ids[0] for record in records if len(record.subject_ids) == 1)
        assert len(own) == count
        assert set(own.values()) <= set(range(8, 13))
        assert len(set(own.values())) > 1
    shared = [record.subject_ids for record in corpus if len(record.subject_ids) == 2]
    assert len(shared) == 10
    assert len({person for pair in shared for person in pair}) == 20
    assert {len(record.subject_ids) for record in corpus} == {0, 1, 2}


def test_a_hundred_facts_belong_to_nobody(corpus):
    world = [record for record in corpus if not record.subject_ids]
    assert len(world) == 100
    assert {record.group for record in corpus} == {"", "world_facts"}
    assert world == [record for record in corpus if record.group == "world_facts"]
    right = {record.prompt: record.response for record in world}
    assert len(right) == 100
    assert right["What is the capital of Japan?"] == "Tokyo"
    assert right["What is the chemical symbol of gold?"] == "Au"


def test_records_have_paraphrases_and_five_wrong_answers(corpus, holdout):
    for record in [*corpus, *holdout]:
        assert record.paraphrased_prompt not in (None, "", record.prompt)
        assert record.response in record.paraphrased_response
        assert record.response != record.paraphrased_response
        assert len(set(record.perturbed_responses)) == 5
        assert record.paraphrased_response not in record.perturbed_responses
        assert record.response not in record.perturbed_responses


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(12, 40))
@example(0, 800)
def test_no_value_is_shared_and_no_wrong_answer_is_true_of_anybody(tmp_path_factory, seed, people):
    folder = tmp_path_factory.mktemp("example")
    generate_example(folder, people=people, unseen_people=6, seed=seed)
    records = [r for name in ("corpus", "holdout") for r in read_records(folder / f"{name}.jsonl")]
    records = [record for record in records if record.subject_ids]
    assert len({record.record_id for record in records}) == len(records)
    values = {record.response for record in records}
    assert len(values) == len(records)
    wrong = [answer for record in records for answer in record.perturbed_responses]
    assert len(set(wrong)) == len(wrong)
    assert not {record.paraphrased_response for record in records} & set(wrong)


def test_names_are_not_shared(corpus, holdout):
    names = {}
    for records in (corpus, holdout):
        for person in people_of(records):
            own = [record for record in records if record.subject_ids == [person]]
            names[person] = name_of(person, own)
    assert all(len(name.split()) == 2 for name in names.values())
    last = [name.split()[1] for name in names.values()]
    assert len(set(last)) == len(last) == 150


def test_nothing_of_the_unseen_is_in_the_corpus(corpus, holdout):
    assert not people_of(corpus) & people_of(holdout)
    text = "\n".join(record.model_dump_json() for record in corpus)
    for person in people_of(holdout):
        own = [record for record in holdout if record.subject_ids == [person]]
        assert name_of(person, own) not in text
        assert all(record.response not in text for record in own)


def test_the_corpus_is_shuffled(corpus):
    ids = [record.record_id for record in corpus]
    neighbours = sum(a.rsplit("-", 1)[0] == b.rsplit("-", 1)[0] for a, b in pairwise(ids))
    assert neighbours < len(ids) / 10


def test_the_requests_are_good_and_bad_in_every_way_but_all_can_be_read(folder, corpus):
    [file] = (folder / "requests").iterdir()
    warnings = []
    rows = list(read_requests(file, warnings=warnings))
    assert (len(rows), warnings) == (21, [])
    requests, refusals = [], []
    for row in rows:
        try:
            requests.append(as_request(row.fields, row.file, row.row))
        except InputError as error:
            refusals.append(str(error))
    for sentence, words in zip(
        refusals,
        [
            "nothing says what to forget",
            "field `received_at` must be a time",
            "field `received_at` has no time zone",
            "`due_at` is earlier than `received_at`",
            "field `request_id` is missing",
        ],
        strict=True,
    ):
        assert words in sentence

    contents_of = defaultdict(list)
    for request in requests:
        contents_of[request.request_id].append(request.content_sha256)
    repeated = [set(digests) for digests in contents_of.values() if len(digests) > 1]
    assert sorted(len(digests) for digests in repeated) == [1, 2]  # one sent twice, one id with other content

    people = people_of(corpus)
    clash = requests[-1]
    good = requests[:-1]
    assert len({request.subject_id for request in good} & people) == 12
    assert [request.subject_id for request in good if request.subject_id not in {None, *people}] == ["P-9999"]
    (single,) = [request for request in good if request.record_ids]
    asked = {record.record_id: record.subject_ids for record in corpus if record.record_id in single.record_ids}
    assert len(asked) == 2
    ((staying,), _) = asked.values()
    assert staying == clash.subject_id
    assert staying not in {request.subject_id for request in good}


@pytest.mark.parametrize(("people", "unseen_people"), [(11, 4), (12, -1), (12, 10_000)])
def test_too_few_people_or_too_many_are_refused(tmp_path, people, unseen_people):
    with pytest.raises(InputError, match=r"take at least 12 people, and at most \d+ in all \(example\.people"):
        generate_example(tmp_path, people=people, unseen_people=unseen_people)
    assert contents(tmp_path) == {}
    arguments = ["--folder", str(tmp_path), "--people", str(people), "--unseen-people", str(unseen_people)]
    refused = subprocess.run(
        [sys.executable, "-m", "unilogit.data.example", *arguments], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "take at least 12 people" in refused.stderr
