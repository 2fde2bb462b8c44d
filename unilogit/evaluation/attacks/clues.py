"""Does a conversation that tells some of what was forgotten bring back the rest? The question after clues.

The clues are other records about the same people, asked and rightly answered in the turns before: what an attacker has
who knows a part. A model that never knew them learns from the clues what they tell, so compare with that of one. Knows
nothing of the other attacks. Source: Shumailov et al. 2024, arxiv.org/abs/2407.00106.
"""

from collections import defaultdict
from collections.abc import Sequence

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.prompt_format import Conversation
from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import LEAST_ROOM, encode_prompt
from unilogit.evaluation.attacks.wording import Asked, ask
from unilogit.model import context_length


def clues(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    *,
    counts: Sequence[int],
    batch_tokens: int | None = None,
    max_new_tokens: int,
    max_length: int | None = None,
    progress: str | None = None,
) -> pd.DataFrame:
    """Score and generate the response after k clues, in a conversation of k + 1 questions.

    Args:
        records: those without a prompt (plain text), and those about nobody or about whom no other record is among
            them, are left out.
        counts: values of k; a record has no row at those for which it has no clues, or no room for them beside the
            longest answer in the model's context.
        batch_tokens, max_new_tokens, max_length, progress: as in `ask`.

    Returns:
        As of `ask`, a row for each k and record that is asked so, with k (int64) as `clues` for its wording.

    Raises:
        InputError: as `ask`.
    """
    limit = context_length(model, max_length)
    room = None if limit is None else limit - max(max_new_tokens, LEAST_ROOM)
    asked = []
    for count in sorted(set(counts)):
        for record, known in zip(records, _clues(records), strict=True):
            if len(known) < count:
                continue
            told = [text for clue in known[:count] for text in (clue.prompt, clue.response)]
            prompt = Conversation((*record.history, *told, record.prompt), record.system)
            if room is None or len(encode_prompt(tokenizer, prompt)) <= room:
                asked.append(Asked(record, str(count), prompt))
    rows = ask(
        model,
        tokenizer,
        asked,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        max_length=max_length,
        progress=progress,
    )
    return rows.assign(wording=rows["wording"].astype("int64")).rename(columns={"wording": "clues"})


def _clues(records: Sequence[CorpusRecord]) -> list[list[CorpusRecord]]:
    """Of each record, the other ones about any of the same people, in order; none where it has no prompt."""
    by_person = defaultdict[str, list[int]](list)
    for number, record in enumerate(records):
        for subject in record.subject_ids if record.prompt.strip() else ():
            by_person[subject].append(number)
    shared = [
        sorted({number for subject in record.subject_ids for number in by_person[subject]} - {own})
        if record.prompt.strip()
        else []
        for own, record in enumerate(records)
    ]
    return [[records[number] for number in numbers] for numbers in shared]
