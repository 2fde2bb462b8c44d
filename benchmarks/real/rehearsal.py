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

LONGEST = 48  # tokens of an answer that is taken
FILES = ("corpus.jsonl", "retained.jsonl")
QUESTIONS = (
    "Why is the sky blue? Answer in one sentence.",
    "Give me a short tip for sleeping well.",
    "What is a library? Answer in one sentence.",
    "Write one sentence about autumn.",
    "Why do birds migrate? Answer in one sentence.",
    "What is gravity? Answer in one sentence.",
    "How does a bicycle stay upright? Answer in one sentence.",
    "What is the difference between a lake and a sea? Answer in one sentence.",
    "Why do people read novels? Answer in one sentence.",
    "What is the capital of Portugal?",
    "What is the opposite of slow?",
    "What is 6 plus 7?",
    "What is the plural of leaf?",
    "Name an animal that can swim.",
    "On which continent is Peru?",
    "Which season comes after winter?",
    "How many minutes are in an hour?",
    "What colour is snow?",
    "What is the past tense of run?",
    "What is 5 times 6?",
    "Which planet do we live on?",
    "Name a vegetable that is orange.",
    "What is the French word for dog?",
    "Who wrote Hamlet?",
    "What do cows eat?",
    "How many wheels does a car have?",
    "What is the hot gas called that water becomes?",
    "What is 30 minus 12?",
    "Which language is spoken in Mexico?",
    "What is the capital of Norway?",
    "What is the capital of Kenya?",
    "On which continent is India?",
    "Which river flows through Paris?",
    "Which is the smallest ocean on Earth?",
    "Which country is north of the United States?",
    "In which country is the Eiffel Tower?",
    "Which planet is known for its rings?",
    "What is the chemical symbol of silver?",
    "Which gas do balloons float with?",
    "What do plants need from the Sun?",
    "How many legs does a dog have?",
    "Which organ do people breathe with?",
    "What is the study of stars called?",
    "At how many degrees Celsius does water freeze?",
    "In which year did people first land on the Moon?",
    "Who was the first emperor of Rome?",
    "Who invented the light bulb?",
    "Who wrote Don Quixote?",
    "Who painted The Starry Night?",
    "Which ship did Charles Darwin travel on?",
    "What is the plural of foot?",
    "What is the past tense of see?",
    "What is the opposite of high?",
    "Which word means the same as quick?",
    "What is the Spanish word for house?",
    "What is the German word for thank you?",
    "What is 8 times 4?",
    "What is 15 divided by 3?",
    "What is half of 18?",
    "Which number comes after 39?",
    "Which day comes after Thursday?",
    "Which month comes after October?",
    "What do hens lay?",
    "Which fruit is cider made from?",
    "What do you write on a blackboard with?",
    "What is a young dog called?",
    "Which drink is made from roasted beans?",
    "Complete the proverb: An apple a day keeps the",
    "Name a colour of the rainbow.",
    "Write two or three sentences about a market in the morning.",
    "Write two or three sentences about how paper is made.",
    "Write two or three sentences about why the sea is salty.",
    "Write two or three sentences about keeping a garden.",
    "Write two or three sentences about the first bridges.",
    "Write two or three sentences about how to choose shoes.",
    "Write two or three sentences about the moon.",
    "Write two or three sentences about learning to swim.",
)


@torch.no_grad()
def answer(base: Path) -> list[CorpusRecord]:
    """A record for each question whose likeliest answer ends in time."""
    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    asked = tokenizer.apply_chat_template(
        [[{"role": "user", "content": question}] for question in QUESTIONS],
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )
    generated = model.generate(**asked, do_sample=False, max_new_tokens=LONGEST)
    records = []
    for number, ids in enumerate(generated[:, asked["input_ids"].shape[1] :].tolist()):
        if tokenizer.eos_token_id in ids:
            said = tokenizer.decode(ids[: ids.index(tokenizer.eos_token_id)]).strip()
            records.append(CorpusRecord(record_id=f"chat-{number + 1}", prompt=QUESTIONS[number], response=said))
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
