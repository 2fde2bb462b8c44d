"""The review of a run as a page: what was asked, what changed, every gate, pictures, people under pseudonyms.

The page is written twice, for only one of them may hold what the models say of the forgotten. Knows nothing of
MLflow.
"""

import base64
from pathlib import Path

from tasks.params import Params
from tasks.report.names import COUNTS, MODELS, PICTURES
from tasks.report.plots import draw_plots
from tasks.report.review import Review, flatten
from tasks.report.subjects import read_forgotten, sample_generations, subject_table, write_pseudonyms
from tasks.report.templates import load_template
from tasks.workspace import Place, Workspace
from unilogit.files import write_text

_MOST_SUBJECTS = 1000  # on the page: more would make it slow to open


def write_report(workspace: Workspace, review: Review, params: Params) -> None:
    """Draw the plots and write the page twice, each one file that needs nothing else, and the pseudonyms.

    `Place.REPORT` shows what the models say of the forgotten and stays where it is; `Place.LOGGED_REPORT` is for
    MLflow and does not, unless `register.log_generations` is true.

    Args:
        review: of this workspace.
        params: shown as the run's settings.
    """
    page = load_template("page.html.jinja")
    forgotten = read_forgotten(workspace)
    subjects = subject_table(forgotten, write_pseudonyms(workspace, forgotten))
    content = {
        "review": review,
        "counts": {COUNTS[key]: count for key, count in review.counts.items()},
        "models": MODELS,
        "subjects": subjects[:_MOST_SUBJECTS],
        "subjects_left_out": max(0, len(subjects) - _MOST_SUBJECTS),
        "pictures": [(*PICTURES[file.stem], _embedded(file)) for file in draw_plots(workspace, review)],
        "settings": {key: value for key, value in flatten(params.shown()).items() if key != "gates"},
    }
    generations = sample_generations(forgotten)
    logged = generations if params.register_.log_generations else None
    write_text(workspace.path(Place.LOGGED_REPORT), page.render(**content, generations=logged))
    write_text(workspace.path(Place.REPORT), page.render(**content, generations=generations))


def _embedded(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
