"""Pictures of what there is, and none of what there is not."""

import pytest

from tasks import plots
from tasks.plots import draw_plots
from tests.tasks.workspaces import AFTER, METRICS, add_attacks_and_baselines, add_people, build
from unilogit.files import write_text

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def workspace(tmp_path):
    return build(tmp_path / "batch-7")


def test_pictures_are_drawn_of_what_there_is(workspace):
    files = draw_plots(workspace)
    assert [file.name for file in files] == ["metrics.png", "plane.png", "truth_ratio.png", "training.png"]
    assert all(file.read_bytes().startswith(PNG) for file in files)
    assert sorted((workspace / "plots").iterdir()) == sorted(files)


@pytest.mark.parametrize("history", [[], [{"epoch": 1.0, "forget_loss": 2.0}], [{"step": 1, "forget_loss": None}]])
@pytest.mark.parametrize("ratios", [None, [None, None], [0.0]])
@pytest.mark.parametrize("after", [{"model_utility": 0.5}, {"forget": {"probability": None, "n": 7}}])
def test_no_picture_without_numbers_not_even_an_old_one(tmp_path, history, ratios, after):
    folder = build(tmp_path, {"before": {}, "after": after, "golden": None}, history=history, ratios=ratios)
    (folder / "plots").mkdir()
    for name in ("metrics", "plane", "roc", "truth_ratio", "robustness", "training"):
        (folder / "plots" / f"{name}.png").write_bytes(PNG)
    assert draw_plots(folder) == list((folder / "plots").iterdir()) == []


def test_a_set_without_numbers_among_others_is_no_trouble(tmp_path):
    after = AFTER | {"poems": {"probability": None, "rouge_l_recall": None}}
    folder = build(tmp_path, METRICS | {"after": after, "golden": None}, history=[], ratios=[1e-12, 9e9])
    assert [file.stem for file in draw_plots(folder)] == ["metrics", "plane", "truth_ratio"]


def test_attacks_and_baselines_are_drawn_where_they_are(workspace):
    add_people(workspace, [["secret-ada"], ["secret-bob"]])
    add_attacks_and_baselines(workspace)
    names = [file.stem for file in draw_plots(workspace)]
    assert names == ["metrics", "plane", "roc", "truth_ratio", "robustness", "training"]


def test_each_attack_says_what_it_shows(workspace):
    add_attacks_and_baselines(workspace)
    figure = plots._draw_robustness(workspace)
    shown = {panel.get_title("left"): panel.get_ylabel() for panel in figure.axes}
    assert shown["quantisation"] == "answer probability"
    assert shown["sampling"] == "ROUGE-L recall"


def test_the_legend_of_the_roc_gives_the_area(workspace):
    add_people(workspace, [["secret-ada"], ["secret-bob"], ["secret-eve"]], [0.5, 0.6, 0.7])
    figure = plots._draw_roc(workspace)
    titles = [panel.get_title("left") for panel in figure.axes]
    assert titles == ["LOSS attack", "Min-K% attack"]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert [label.split(",")[0] for label in legend] == ["before", "after", "golden target"]
    assert legend[1].endswith("AUC 1.00")


def test_holes_in_attacks_and_scores_are_no_trouble(workspace):
    add_people(workspace, [["secret-ada"]], [float("nan")])
    write_text(workspace / "evaluation" / "robustness" / "relearning.csv", "model,x,value\nafter,0,\nafter,5,0.5\n")
    write_text(workspace / "evaluation" / "robustness" / "sampling.csv", "model,x,value\n")
    write_text(workspace / "evaluation" / "baselines.csv", "name,forget_probability,model_utility\nnpo,0.1,\n")
    assert {"roc", "robustness", "plane"} < {file.stem for file in draw_plots(workspace)}
