"""What a flow run of `unlearn` shows in Prefect's pages: verdict, gates, and where run, version and report are."""

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from tasks.outcome import is_recorded
from tasks.registry.pages import pages
from tasks.report.names import number
from tasks.report.review import Review
from tasks.workspace import Place, Registration, Workspace
from unilogit.gates import GateVerdict

_DEMANDS = {"<": "below", "<=": "at most", ">": "above", ">=": "at least"}  # a cell that begins with > is a quotation


def show_verdict(review: Review, registration: Registration, workspace: Workspace) -> None:
    """Make the artifacts, where a Prefect server records this run."""
    if not is_recorded():
        return
    links = pages(registration)
    create_markdown_artifact(
        key="gates",
        markdown=verdict_markdown(review, registration, links, str(workspace.path(Place.REPORT))),
        description=review.verdict,
    )
    for name, link in links.items():
        create_link_artifact(key=name, link=link, link_text=f"{name} of batch {review.batch_id}")


def verdict_markdown(review: Review, registration: Registration, links: dict[str, str], report: str) -> str:
    """The verdict, links to what shows more, then every gate, failed ones first.

    Args:
        links: what is shown → its address; empty without an MLflow server.
        report: where the report with examples lies.
    """
    where = [f"[MLflow: {name}]({link})" for name, link in links.items()]
    where.append(f"report with examples, on the machine of the run: `{report}`")
    if not links:
        where.append(f"MLflow run `{registration.run_id}`")
    rows = ["| gate | scope | verdict | value | must be | why |", "| --- | --- | --- | ---: | --- | --- |"]
    return "\n\n".join(
        [
            f"**{review.verdict}**",
            f"{registration.registered_model} version {registration.version}, batch {review.batch_id}",
            " · ".join(where),
            "\n".join([*rows, *map(_row, review.failures_first)]),
        ]
    )


def _row(gate: GateVerdict) -> str:
    verdict = "passed" if gate.passed else "**failed**"
    cells = (gate.name, gate.scope, verdict, number(gate.value), demand(gate), "" if gate.passed else gate.reason)
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def demand(gate: GateVerdict) -> str:
    """What a gate's value must be, in words."""
    return f"{_DEMANDS[gate.op]} {gate.threshold:g}"
