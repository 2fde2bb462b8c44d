"""What `unilogit corpus check` found, on the terminal: one page for people, or one JSON object for programs."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from tasks.corpus_check import QUANTILES, CorpusCheck
from tasks.report.console import wide_console


def print_check(check: CorpusCheck, as_json: bool) -> None:
    """Print it; of refused rows only where they stand, their ids and why."""
    if as_json:
        print(json.dumps(_as_json(check), ensure_ascii=False))
        return
    console = wide_console()
    console.print(_facts(check))
    console.print(_files(check))
    if check.lengths.whole:
        console.print(_lengths(check))
    if check.refused:
        reasons = Table("how many", "why", title="What a run refuses, by reason", title_justify="left")
        for reason, count in check.reasons.items():
            reasons.add_row(f"{count:,}", escape(reason))
        console.print(reasons)
        console.print(_refused(check))
    for warning in check.warnings:
        console.print(f"warning: {escape(warning)}")
    console.print(_verdict(check))


def _as_json(check: CorpusCheck) -> Mapping[str, object]:
    said = asdict(check)
    for row in said["first_refused"]:
        del row["raw"]
    return {"schema_version": 1, **said}


def _facts(check: CorpusCheck) -> Table:
    table = Table("", "", title=f"Corpus {escape(check.path)}", title_justify="left", show_header=False)
    contents = check.contents
    if contents:
        table.add_row("records", f"{contents.records:,}")
        if contents.with_history:
            told = f"{contents.with_history:,} answers with turns before, {contents.conversations:,} conversations"
            table.add_row("several turns", told)
        table.add_row("subjects", f"{contents.subjects:,}, of {contents.most_of_a_subject:,} records at the most")
        table.add_row("records that name nobody", f"{contents.without_subject:,}")
        groups = {name: count for name, count in contents.groups.items() if name}
        if groups:
            table.add_row("groups", ", ".join(f"{escape(name)} {count:,}" for name, count in groups.items()))
        table.add_row("say what one before says", f"{contents.exact_repeats:,}")
        repeats = f"{contents.near_repeats:,} of {contents.sampled:,} that were looked at"
        table.add_row("read nearly like another", repeats)
    if check.scripts:
        table.add_row(
            "scripts of the letters", ", ".join(f"{name} {share:.1%}" for name, share in check.scripts.items())
        )
    table.add_row("refused", f"{check.refused:,}")
    return table


def _files(check: CorpusCheck) -> Table:
    table = Table("file", "written as", title_justify="left")
    for name, forms in check.files.items():
        table.add_row(escape(name), ", ".join(f"{form} {count:,}" for form, count in forms.items()))
    return table


def _lengths(check: CorpusCheck) -> Table:
    lengths = check.lengths
    context = f"; the model's context is {lengths.context:,}" if lengths.context else ""
    title = f"Tokens ({lengths.limit:,} at the most{context})"
    table = Table("", *QUANTILES, title=title, title_justify="left")
    table.add_row("prompt", *(f"{lengths.prompt[name]:,}" for name in QUANTILES))
    table.add_row("prompt and response", *(f"{lengths.whole[name]:,}" for name in QUANTILES))
    table.caption = f"{lengths.windows:,} records are longer and worked on in windows"
    return table


def _refused(check: CorpusCheck) -> Table:
    table = Table("place", "record_id", "why", title="The first of them", title_justify="left")
    for row in check.first_refused:
        table.add_row(escape(row.place), escape(row.record_id or ""), escape("\n".join(row.reasons)))
    return table


def _verdict(check: CorpusCheck) -> str:
    unknown = (
        f"lengths in tokens are not known: {escape(check.lengths.why_unknown)}\n" if check.lengths.why_unknown else ""
    )
    if check.contents is None:
        return f"{unknown}A run does not take this corpus: it has no line that can be used."
    if not check.is_usable:
        remedy = "correct what is refused, or leave it out with data.bad_corpus_rows = quarantine"
        return f"{unknown}A run does not take this corpus; {remedy}."
    return f"{unknown}A run takes this corpus" + (f", without {check.refused:,} rows." if check.refused else ".")
