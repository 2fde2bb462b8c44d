"""Training sets as examples: whole where they fit, windows where not, and a better answer beside each."""

import pytest

from unilogit.data.tokenisation import encode_pair, encode_windows
from unilogit.errors import InputError
from unilogit.training.encoding import encode_preferred, encode_set
from unilogit.training.from_scratch import train_tokenizer

FORGET = [("Where?", "Harwick"), ("What does the log say?", "entry " * 99), ("Who?", "Ada")]
BETTER = ["Elsewhere", "Nothing", "Nobody"]
TOKENIZER = train_tokenizer([text for pair in FORGET for text in pair], 300)


def test_a_long_response_is_several_examples_beside_whole_ones():
    examples = encode_set(TOKENIZER, FORGET, "forget", max_length=64)
    windows = encode_windows(TOKENIZER, *FORGET[1], 64)
    assert len(windows) > 2
    assert examples == [encode_pair(TOKENIZER, *FORGET[0]), *windows, encode_pair(TOKENIZER, *FORGET[2])]
    assert encode_set(TOKENIZER, FORGET, "forget", max_length=None) == [encode_pair(TOKENIZER, *p) for p in FORGET]


def test_each_window_has_the_better_answer_of_its_record():
    whole = [encode_pair(TOKENIZER, prompt, better) for (prompt, _), better in zip(FORGET, BETTER, strict=True)]
    count = len(encode_windows(TOKENIZER, *FORGET[1], 64))
    preferred = encode_preferred(TOKENIZER, FORGET, BETTER, max_length=64)
    assert preferred == [whole[0], *[whole[1]] * count, whole[2]]
    assert len(preferred) == len(encode_set(TOKENIZER, FORGET, "forget", max_length=64))


def test_what_cannot_be_learned_is_refused_by_its_place():
    pairs = [FORGET[0], ("What does the log say? " * 9, FORGET[1][1])]
    with pytest.raises(InputError, match=r"^retain pair 2: its prompt has \d+ tokens, but .* 64 together"):
        encode_set(TOKENIZER, pairs, "retain", max_length=64)
    with pytest.raises(InputError, match=r"^the better answer to forget pair 2, with its prompt, has \d+ tokens, but"):
        encode_preferred(TOKENIZER, FORGET, [BETTER[0], "Nothing. " * 60, BETTER[2]], max_length=64)
