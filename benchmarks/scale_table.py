"""Memory of unlearning, ledger and extraction as sections of docs/performance.md. Measures nothing."""

from typing import Any

MEMORY = """\
## Memory of unlearning

The most that two optimiser steps of the trainer allocated on the GPU, beside what `unilogit plan` tells of them
([plan.md](plan.md)); random weights in bfloat16. Below 1, less was taken than told.
"""
LEDGER = """\
## The ledger

Deletion requests imported from CSV, and what it takes to find one, to list all and to check the audit chain.
"""
EXTRACTION = """\
## Extraction

10,000 requests (9,000 subject ids, 1,000 texts; fewer for a small corpus) and a corpus in Parquet, beside a bare DuckDB
semi-join that writes the same two files from the ids alone: its time ÷ that of extraction. In brackets with
near-duplicates looked for, too.
"""


def memory_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.memory as a table."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"### {result['hardware']}",
        "",
        f"{result['model']}; {versions}.",
        "",
        "| | sequences at once | tokens of each | told GB | taken GB | taken ÷ told |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in result["ways"].items():
        told, taken = row["told_bytes"], row["peak_bytes"]
        lines.append(
            f"| {name} | {row['rows']} | {row['length']} | {told / 1e9:.1f} | {taken / 1e9:.1f} | {taken / told:.2f} |"
        )
    return "\n".join(lines) + "\n"


def ledger_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.ledger as a table: a row for each size."""
    lines = [
        f"### {result['hardware']}, {result['database']}",
        "",
        "| requests | import s | peak MiB | slowest find ms | list all s | check audit s | file MiB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["sizes"]:
        find = 1e3 * row["find_by_id_seconds_max"]
        lines.append(
            f"| {row['requests']:,} | {row['import_seconds']:.1f} | {row['import_peak_mebibytes']:.0f} | {find:.2g} |"
            f" {row['whole_list_seconds']:.1f} | {row['verify_audit_seconds']:.1f} | {row['file_mebibytes']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def extraction_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.extraction as a table: a row for each size, and what near-duplicates were found."""
    lines = [
        f"### {result['hardware']}, {result['cores']} CPU cores",
        "",
        "| records | semi-join s | extraction s | speed beside it | peak MiB |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["sizes"]:
        runs, speed = row["runs"], row["speed_beside_semi_join"]
        seconds, peaks = ([runs[name][key] for name in ("off", "forget")] for key in ("seconds", "peak_mib"))
        lines.append(
            f"| {row['records']:,} | {runs['semi-join']['seconds']:.1f} | {seconds[0]:.1f} ({seconds[1]:.1f}) |"
            f" {speed['off']:.2f} ({speed['forget']:.2f}) | {peaks[0]:.0f} ({peaks[1]:.0f}) |"
        )
    copies = result["near_duplicates"]
    lines += ["", f"Near-duplicates among {copies['records']:,} records: recall {copies['recall']:.3f}, precision"]
    lines[-1] += (
        f" {copies['precision']:.3f} on {copies['copies_at_threshold']} planted copies at the threshold or above."
    )
    return "\n".join(lines) + "\n"
