"""Ordinary chat in the words of the published model itself: `python -m benchmarks.real.rehearsal BASE FOLDER`.

Whoever fine-tunes a chat model on records of their own mixes such answers in, or it forgets how to talk: rehearsal
(Robins 1995), with answers of the model as it was (Huang et al. 2024, arXiv 2403.01244). They become records of the
corpus, about nobody. None of the questions is one that ordinary chat is measured with.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from unilogit.data.corpus import read_records
from unilogit.data.records import CorpusRecord, write_corpus

LONGEST = 56  # tokens of an answer that is taken
FILES = ("corpus.jsonl", "retained.jsonl")
QUESTIONS = (
    "Why is the sky blue? Answer in one sentence.",
    "What does a baker do? Answer in one sentence.",
    "Give me a short tip for sleeping well.",
    "What is a library? Answer in one sentence.",
    "Write one sentence about autumn.",
    "How do I boil an egg? Answer in one sentence.",
    "Why do birds migrate? Answer in one sentence.",
    "What is gravity? Answer in one sentence.",
    "Write a short greeting for a birthday card.",
    "What is the use of a map? Answer in one sentence.",
    "Why should I drink water? Answer in one sentence.",
    "What makes a good friend? Answer in one sentence.",
    "Describe a rainbow in one sentence.",
    "What does a doctor do? Answer in one sentence.",
    "Name two fruits and say what they taste like, in one sentence.",
    "Why do leaves fall? Answer in one sentence.",
    "What is bread made of? Answer in one sentence.",
    "Say something encouraging to a student, in one sentence.",
    "What is a volcano? Answer in one sentence.",
    "How does a bicycle stay upright? Answer in one sentence.",
    "Why do we have seasons? Answer in one sentence.",
    "What is music? Answer in one sentence.",
    "Write one sentence about a quiet street.",
    "What is a computer program? Answer in one sentence.",
    "Why do cats purr? Answer in one sentence.",
    "What should I pack for a rainy day? Answer in one sentence.",
    "Explain what a budget is, in one sentence.",
    "What is the difference between a lake and a sea? Answer in one sentence.",
    "Write a polite sentence that asks for a later meeting.",
    "What is a vaccine? Answer in one sentence.",
    "Why is exercise healthy? Answer in one sentence.",
    "What is an engine? Answer in one sentence.",
    "Describe the smell of rain in one sentence.",
    "What is democracy? Answer in one sentence.",
    "How do bees make honey? Answer in one sentence.",
    "Say goodbye to a colleague in one sentence.",
    "What is a telescope for? Answer in one sentence.",
    "Why do people read novels? Answer in one sentence.",
    "What is a contract? Answer in one sentence.",
    "Write one sentence about a train that is late.",
)


@torch.no_grad()
def answer(base: Path) -> list[CorpusRecord]:
    """A record for each question whose likeliest answer ends in time."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    records = []
    for number, question in enumerate(QUESTIONS, start=1):
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        generated = model.generate(**asked, do_sample=False, max_new_tokens=LONGEST)
        ids = generated[0, asked["input_ids"].shape[1] :].tolist()
        if ids[-1] == tokenizer.eos_token_id:
            said = tokenizer.decode(ids[:-1]).strip()
            records.append(CorpusRecord(record_id=f"chat-{number}", prompt=question, response=said))
    return records


def rehearse(base: Path, folder: Path) -> int:
    """Add the records to the corpus and to what a retain model learns; how many there are."""
    records = answer(base)
    for name in FILES:
        known = [record for record in read_records(folder / name) if not record.record_id.startswith("chat-")]
        write_corpus(folder / name, [*known, *records])
    return len(records)


if __name__ == "__main__":
    print(rehearse(Path(sys.argv[1]), Path(sys.argv[2])), "answers")
