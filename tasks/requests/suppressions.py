"""What a purge keeps of the forgotten: keyed digests, by which the next batches know a corpus that still holds them.

Knows ledger and forget sets. Changes nothing but the ledger's suppression list.
"""

from collections.abc import Collection

import pandas as pd

from tasks.workspace import Place, Suppressions, Workspace, pseudonyms
from unilogit.ledger import Ledger, RequestState

_RECORD = ["record_id", "prompt", "response", "paraphrased_prompt", "paraphrased_response", "history"]


def suppression_list(ledger: Ledger) -> Suppressions:
    """Of whom no record may be in a set, although their requests are purged.

    Raises:
        InputError: it was made under another key than this home's.
    """
    check = pseudonyms().check
    digests = ledger.suppressions(check)
    return Suppressions(key_check=check if digests else "", digests=digests)


def put_on_list(references: Collection[str], ledger: Ledger, runs: list[Workspace]) -> None:
    """Put those of the requests that are fulfilled on the suppression list; can be repeated.

    Of a request, it is what names records; of each record that was found for it, its id and its texts, whoever else
    it is about. Nobody is to be forgotten for what was withdrawn, refused or never found.

    Args:
        runs: of every batch.

    Raises:
        InputError: the list was made under another key than this home's.
    """
    from unilogit.data.suppression import SuppressionList, record_marks, request_marks

    keyed = pseudonyms()
    maker = SuppressionList(keyed, {})
    fulfilled = {name for name in references if ledger.find(name).state == RequestState.fulfilled}
    digests: dict[str, str] = {}
    for name in sorted(fulfilled):
        digests.update(dict.fromkeys(maker.digests(request_marks(ledger.get(name))), name))
    for run in runs:
        if not run.has(Place.FORGET):
            continue
        forget = pd.read_parquet(run.path(Place.FORGET))
        if "history" not in forget:  # those of older batches
            forget["history"] = [()] * len(forget)
        for *record, names in forget[[*_RECORD, "request_ids"]].itertuples(index=False, name=None):
            if theirs := fulfilled.intersection(names):
                digests.update(dict.fromkeys(maker.digests(record_marks(*record)), min(theirs)))
    ledger.suppress(digests, keyed.check)
