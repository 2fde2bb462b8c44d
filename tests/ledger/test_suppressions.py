"""The suppression list in the ledger: what is put on it stays, and no other key than its own is used with it."""

import pytest

from tests.ledger.lives import digest, run_sql
from unilogit.errors import InputError
from unilogit.ledger import Ledger

CHECK, OTHER = "a" * 16, "b" * 16


def test_what_is_put_on_the_list_stays_and_can_be_put_there_again(ledger, location):
    assert ledger.suppressions(CHECK) == {}
    ledger.suppress({}, CHECK)
    first = {digest(str(number)): "R-1" for number in range(1200)}
    ledger.suppress(first, CHECK)
    ledger.suppress({**dict.fromkeys(first, "R-2"), digest("new"): "R-2"}, CHECK)
    with Ledger(location) as again:
        assert again.suppressions(CHECK) == {**first, digest("new"): "R-2"}


def test_another_key_is_refused_as_it_would_find_nothing(ledger, location):
    assert ledger.suppressions(OTHER) == {}  # of an empty list there is nothing to find
    ledger.suppress({digest("word"): "R-1"}, CHECK)
    for use in (lambda: ledger.suppressions(OTHER), lambda: ledger.suppress({digest("more"): "R-2"}, OTHER)):
        with pytest.raises(InputError, match=rf"under another key .*{CHECK}.*{OTHER}.*put that key back"):
            use()
    assert ledger.suppressions(CHECK) == {digest("word"): "R-1"}
    run_sql(location, "DELETE FROM ledger_suppressions")
    ledger.suppress({digest("more"): "R-2"}, OTHER)
    assert ledger.suppressions(OTHER) == {digest("more"): "R-2"}
