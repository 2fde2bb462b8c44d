"""What each forget token is driven to: about the probability that a model which never knew the person gives it.

A source says of the tokens of an answer which of them anybody could guess (grammar, the form of an answer) and which
nobody could (the facts):

- `base`: the checkpoint before it learned the corpus, asked the same;
- `neighbours`: the model itself, given the answer so far, but after the questions of retained records instead, those
  that read most like the answer's own;
- `unseen`: the same, after questions about unseen people.

That gives an order. How likely the tokens should be, unseen people say, of whom the model knows nothing: with the
tokens of their answers in the order of what the model itself makes of them, each forget token is driven to where one of
them stands at the same share of the way. So forget answers come to be as unlike each other as unseen people's, and no
monotone mistake of a source matters. The same for answers that begin with a few tokens of another one (splices.py):
the order is the same, and unseen people's answers are spliced, too. What is known and what is not are ordered apart:
together, all that earlier batches had forgotten would stand below all that is to be forgotten now, and push it up to
where what anybody could guess belongs.

How good a source is, is measured on unseen people, too: the rank correlation of what it says of their tokens with what
the model says, which does not know them either. And a source may recall the forgotten, as the beginning of an answer
tells the model how it goes on: how much likelier it finds their tokens than unseen people's, on the way to the model's
own knowledge of them, is its recall. It is worth correlation · (1 − recall).

Knows models and texts; nothing of files, of losses or of evaluation data.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.prompt_format import Prompt
from unilogit.data.text import normal_form
from unilogit.errors import InputError
from unilogit.evaluation.token_scores import score_tokens
from unilogit.model import context_length
from unilogit.training.encoding import encode_set
from unilogit.training.ranks import TokenValues, choose, find_known, rank_apart
from unilogit.training.splices import draw_splices

SourceName = Literal["base", "neighbours", "unseen"]
Pair = tuple[Prompt, str]  # what is asked, and the response

NEAREST = 8  # questions that an answer is put after
SPLICES_SCORED = 2  # of each of unseen people's answers
LEAST_WORTH = 0.3  # of a source that is taken without being asked for
SCORED_TOKENS = 4096  # at once; always the same, for the same bits whatever memory there is
_LINES = 1024  # of similarities at once: bounds memory, not the result
_Score = Callable[[Sequence[Pair]], TokenValues]


class Quality(NamedTuple):
    """How good a source is.

    Attributes:
        correlation: Spearman's, over the tokens of unseen people's answers, of the source with the model itself.
        recall: of the forgotten: 0 where it finds their tokens as likely as unseen people's, 1 where as likely as the
            model does.
    """

    correlation: float
    recall: float

    @property
    def worth(self) -> float:
        return self.correlation * (1 - min(max(self.recall, 0.0), 1.0))

    def __str__(self) -> str:
        return f"rank correlation {self.correlation:.2f}, recall {self.recall:.2f}"


class Targets(NamedTuple):
    """What forget tokens are driven to.

    Attributes:
        source: where it is from; None for 1/V, the same for all.
        told: that, why, and how good each source is, as a sentence.
        log_target: of each forget answer, log of the probability of each of its tokens, float32 of shape [2, tokens]:
            as the answer stands, and after the beginning of another one; empty for 1/V.
        qualities: of each source that was measured.
    """

    source: SourceName | None
    told: str
    log_target: TokenValues
    qualities: dict[SourceName, Quality]


class Unseen(NamedTuple):
    """Unseen people: what is asked about them, and who each pair is about.

    Attributes:
        pairs: prompt and response.
        people: of each pair, the ids of whom it is about.
    """

    pairs: Sequence[Pair]
    people: Sequence[frozenset[str]]


def find_targets(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    forget: Sequence[Pair],
    retain: Sequence[Pair],
    unseen: Unseen,
    source: Literal["auto"] | SourceName = "auto",
    pretrained: PreTrainedModel | None = None,
    seed: int = 0,
    max_length: int | None = None,
    progress: str | None = None,
) -> Targets:
    """The target of each forget token, by the source that is worth most or by the one that is asked for.

    Args:
        model: the model before unlearning.
        forget: what is to be forgotten.
        retain: pairs whose questions `neighbours` may take, and whose answers give other beginnings.
        unseen: people of whom the model knows nothing; not those that the outcome is measured with.
        source: "auto" is the best of those there are, or none where none is worth `LEAST_WORTH`.
        pretrained: the checkpoint before it learned the corpus, with the same tokenizer; None where there is none.
        seed: of how unseen people's answers begin otherwise.
        max_length: as of `score_tokens`.
        progress: what progress bars on standard error say first; None for no bars.

    Raises:
        InputError: the source that is asked for is not there, or a model gives no numbers.
    """
    score = _scorer(model, tokenizer, max_length, progress)
    estimators = _estimators(score, retain, unseen)
    if pretrained is not None:
        asked_before = _scorer(pretrained, tokenizer, max_length, progress)
        estimators = {"base": lambda pairs, _: asked_before(pairs), **estimators}
    if not unseen.pairs:
        reason = "there are no unseen people (data.holdout), who say how likely tokens are that nobody knows"
        return _uniform(reason, source, {})
    own, own_unseen = score(forget), score(unseen.pairs)
    known = find_known(own, own_unseen)
    qualities: dict[SourceName, Quality] = {}
    estimates: dict[SourceName, TokenValues] = {}
    why_not = [] if pretrained is not None else ["base: there is no model.pretrained"]
    for name, estimate in estimators.items():
        if source not in ("auto", name):
            continue
        of_forget, of_unseen = estimate(forget, None), estimate(unseen.pairs, unseen.people)
        if of_forget is None or of_unseen is None:
            why_not.append(f"{name}: there are no other questions than the answers' own")
            continue
        estimates[name] = of_forget
        tokens = choose(of_forget, known), of_unseen, choose(own, known), own_unseen
        qualities[name] = _quality(*map(np.concatenate, tokens))
    told = "; ".join([*(f"{name}: {quality}" for name, quality in qualities.items()), *why_not])
    if not known.all():
        told += f"; {known.size - known.sum()} of {known.size} answers are forgotten already"
    worthwhile = [name for name, quality in qualities.items() if source != "auto" or quality.worth >= LEAST_WORTH]
    if not worthwhile:
        return _uniform(f"no source is worth it ({told})", source, qualities)
    best = max(worthwhile, key=lambda name: qualities[name].worth)
    spliced = _spliced(model, tokenizer, unseen.pairs, retain, seed, context_length(model, max_length), progress)
    standing = np.concatenate(own_unseen)
    likelihoods = standing, spliced if len(spliced) else standing
    ranked = [rank_apart(estimates[best], known, values) for values in likelihoods]
    log_target = [np.stack(rows) for rows in zip(*ranked, strict=True)]
    return Targets(best, f"each forget token has its own target, by `{best}` ({told})", log_target, qualities)


def _spliced(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    unseen: Sequence[Pair],
    retain: Sequence[Pair],
    seed: int,
    limit: int | None,
    progress: str | None,
) -> np.ndarray:
    """Of all tokens of unseen people's answers, log p once they begin otherwise; empty where none can."""
    examples, retained = (encode_set(tokenizer, pairs, "", max_length=limit) for pairs in (unseen, retain))
    splices = draw_splices(examples, retained, seed, limit)
    windows = [[splice] for drawn in splices for splice in drawn[:SPLICES_SCORED]]
    texts = [""] * len(windows)  # the windows say it all
    scores = score_tokens(
        model, tokenizer, texts, texts, batch_tokens=SCORED_TOKENS, windows=windows, progress=progress
    )
    return np.concatenate([np.empty(0), *(answer_scores.log_p for answer_scores in scores)])


def _uniform(reason: str, source: str, qualities: dict[SourceName, Quality]) -> Targets:
    if source != "auto":
        raise InputError(f"unlearn.target is {source}, but {reason}; set it to auto or uniform")
    return Targets(None, f"each forget token is driven to 1/V: {reason}", [], qualities)


def _scorer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    progress: str | None,
) -> _Score:
    def score(pairs: Sequence[Pair]) -> TokenValues:
        prompts, answers = [prompt for prompt, _ in pairs], [answer for _, answer in pairs]
        scores = score_tokens(
            model, tokenizer, prompts, answers, batch_tokens=SCORED_TOKENS, max_length=max_length, progress=progress
        )
        if not all(np.isfinite(answer_scores.log_p).all() for answer_scores in scores):
            name = model.name_or_path or "the model"
            raise InputError(
                f"{name}: gives answers no probability (NaN), so no targets can be told by it; use another"
            )
        return [answer_scores.log_p for answer_scores in scores]

    return score


_Estimate = Callable[[Sequence[Pair], Sequence[frozenset[str]] | None], TokenValues | None]


def _estimators(score: _Score, retain: Sequence[Pair], unseen: Unseen) -> Mapping[SourceName, _Estimate]:
    """Each gives what a source says of answers, and whom they are about where they are unseen people's."""
    nobody = [frozenset[str]()] * len(retain)
    return {
        "neighbours": lambda pairs, people: _after_others(
            score, pairs, people, [prompt for prompt, _ in retain], nobody
        ),
        "unseen": lambda pairs, people: _after_others(
            score, pairs, people, [prompt for prompt, _ in unseen.pairs], unseen.people
        ),
    }


def _after_others(
    score: _Score,
    pairs: Sequence[Pair],
    people: Sequence[frozenset[str]] | None,
    questions: Sequence[Prompt],
    asked_about: Sequence[frozenset[str]],
) -> TokenValues | None:
    """Of each answer's tokens, the median of log p after the questions that read most like its own.

    None where there is an answer without any: those that read as its own does, or that are about the same people,
    are none.
    """
    asked: list[Pair] = []
    counts: list[int] = []
    for (_, answer), nearest in zip(pairs, nearest_questions(pairs, people, questions, asked_about), strict=True):
        asked += [(questions[number], answer) for number in nearest]
        counts.append(len(nearest))
    if not counts or min(counts) == 0:
        return None
    scored = iter(score(asked))
    return [_median([next(scored) for _ in range(count)]) for count in counts]


def _median(of_one_answer: Sequence[np.ndarray]) -> np.ndarray:
    """Of each token; after the nearest question it may be another one than after others, which are left out then."""
    return np.median([values for values in of_one_answer if len(values) == len(of_one_answer[0])], axis=0)


def nearest_questions(
    pairs: Sequence[Pair],
    people: Sequence[frozenset[str]] | None,
    questions: Sequence[Prompt],
    asked_about: Sequence[frozenset[str]],
) -> Iterator[np.ndarray]:
    """Of each pair the numbers of at most `NEAREST` questions, the most alike first."""
    if not questions:
        yield from [np.empty(0, dtype=np.int64)] * len(pairs)
        return
    own, asked = [_text(prompt) for prompt, _ in pairs], [_text(prompt) for prompt in questions]
    vectorizer = TfidfVectorizer(preprocessor=str, analyzer="char_wb", ngram_range=(2, 4)).fit([*asked, *own, "--"])
    vectors = vectorizer.transform(asked).T
    texts = np.array(asked, dtype=object)
    for first in range(0, len(own), _LINES):
        block = own[first : first + _LINES]
        similarity = (vectorizer.transform(block) @ vectors).toarray()
        for place, (line, text) in enumerate(zip(similarity, block, strict=True), start=first):
            line[texts == text] = -1
            if people is not None:
                line[[bool(whom & people[place]) for whom in asked_about]] = -1
            order = np.argsort(-line, kind="stable")[:NEAREST]
            yield order[line[order] >= 0]


def _text(prompt: Prompt) -> str:
    """What is asked, without the turns before, in normal form."""
    return normal_form(prompt if isinstance(prompt, str) else prompt.turns[-1])


def _quality(of_forget: np.ndarray, of_unseen: np.ndarray, own: np.ndarray, own_unseen: np.ndarray) -> Quality:
    """All are log p of tokens: by the source, of what is known and of unseen people; by the model, of both."""
    varies = np.ptp(of_unseen) > 0 and np.ptp(own_unseen) > 0
    correlation = float(spearmanr(of_unseen, own_unseen).statistic) if varies else 0.0
    way = own.mean() - of_unseen.mean()
    return Quality(correlation, float((of_forget.mean() - of_unseen.mean()) / way) if way > 0 else 0.0)
