"""A registry and a ledger together: every version unlearns a batch of one request, named after the version."""

from tasks.requests.batches import open_ledger
from tasks.requests.certificates import certificate_file
from tasks.requests.promotion import examine_champion, put_back
from tests.ledger.lives import numbered_requests, promoted_batch, take
from tests.tasks.registry.family import NAME
from unilogit.files import sha256_file, write_text


class Life:
    def __init__(self, family):
        self.family = family
        self.batches = {}

    def unlearn(self, parent=""):
        """A new version; its number. Requests that wait again are withdrawn first, so that each batch has its own."""
        number = len(self.batches) + 1
        with open_ledger() as ledger:
            for row in list(ledger.requests("validated")):
                ledger.withdraw(row.reference, "ann")
            take(ledger, *numbered_requests(1, number), word=f"file {number}")
            batch = promoted_batch(ledger, 1)
        self.batches[str(number)] = batch
        return self.family.add(number, parent, batch_id=batch)

    def reconcile(self):
        """As the flow does; what was refused."""
        refusal, _ = examine_champion(NAME, "run")
        if refusal:
            put_back(refusal)
        return refusal

    def fulfil(self, version):
        """As the flow does for a version, but for what the certificate says."""
        name = f"r{int(version):03}"
        write_text(certificate_file(name), f"certificate of {name}")
        with open_ledger() as ledger:
            ledger.fulfil({name: sha256_file(certificate_file(name))}, "run", "ann")

    @property
    def states(self):
        """Version → where its request stands."""
        with open_ledger() as ledger:
            ledger.verify_audit()
            rows = {row.reference: row for row in ledger.requests()}
        return {version: str(rows[f"r{int(version):03}"].state) for version in self.batches}
