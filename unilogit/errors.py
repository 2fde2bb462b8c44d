"""What goes wrong because of what somebody gave us, or of what may pass, as opposed to a defect of ours.

Every entry point (CLI, `python -m tasks.…`, `python -m flows.…`) prints an InputError as plain sentences and exits
with code 2, a TemporaryError with code 75 (of sysexits.h: try again later); anything else is a defect and keeps its
traceback.
"""


class InputError(Exception):
    """The input cannot be used; nothing was half-written.

    Args:
        problems: one sentence each, saying where (file, line or key), what is wrong and what to do.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class TemporaryError(Exception):
    """Something that may pass, as a server that does not answer: trying again later may help, correcting nothing.

    Args:
        message: one sentence, saying what could not be done and why.
    """


class AnotherRuns(TemporaryError):
    """Another process does this work at present, and what is asked for here it may do as well."""
