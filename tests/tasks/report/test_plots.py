"""Pictures show the numbers that are there, in their places, and none of what is not there."""

from itertools import pairwise

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tasks.report.plots import draw_plots
from tasks.report.review import read_review
from tasks.workspace import Metrics, Place
from tests.tasks.workspaces import BASELINES, CURVES, METRICS, add_attacks_and_baselines, add_people, build, varied
from unilogit.files import write_text

PNG = b"\x89PNG\r\n\x1a\n"
ORANGE, BLUE, GREEN, PURPLE = (230, 159, 0), (0, 114, 178), (0, 158, 115), (204, 121, 167)  # Okabe and Ito
GREY = (119, 119, 119)
MODELS = {"before": ORANGE, "after": BLUE, "retain model": GREEN}  # legend → colour


def full(root):
    """A workspace of which every picture can be drawn."""
    workspace = build(root)
    add_people(workspace, [[f"secret-{place}"] for place in range(12)])
    add_attacks_and_baselines(workspace)
    return workspace


def draw(workspace):
    """Name → (figure, pixels of the file)."""
    figures, save = [], Figure.savefig

    def remember(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", remember)
        files = draw_plots(workspace, read_review(workspace))
    pixels = [(matplotlib.image.imread(file)[:, :, :3] * 255).round().astype(int) for file in files]
    return {file.stem: pair for file, *pair in zip(files, figures, pixels, strict=True)}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return full(tmp_path_factory.mktemp("runs") / "batch-7")


@pytest.fixture(scope="module")
def drawn(workspace):
    return draw(workspace)


def colours(pixels):
    return {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}


def panels(figure):
    """Title → panel."""
    return {axes.get_title("left"): axes for axes in figure.axes}


def lines(panel):
    """Label → (x, y) of every line that the legend names."""
    handles, labels = panel.get_legend_handles_labels()
    return {label: tuple(np.asarray(line.get_data())) for line, label in zip(handles, labels, strict=True)}


def legend(figure):
    [shown] = figure.legends
    return [text.get_text() for text in shown.get_texts()]


def test_every_picture_has_the_colours_of_what_it_shows(workspace, drawn):
    expected = dict.fromkeys(("metrics", "roc", "truth_ratio", "robustness"), MODELS.values())
    expected |= {"training": (BLUE, ORANGE), "plane": (ORANGE, BLUE, PURPLE, GREY)}
    assert list(drawn) == ["metrics", "plane", "roc", "truth_ratio", "robustness", "training"]
    for name, (_, pixels) in drawn.items():
        assert {(255, 255, 255), *expected[name]} <= colours(pixels), name
    assert sorted(path.stem for path in workspace.path(Place.PLOTS).iterdir()) == sorted(drawn)


def test_a_model_that_was_not_measured_has_no_colour(tmp_path):
    _, pixels = draw(build(tmp_path, varied(retain_model=None)))["metrics"]
    assert {ORANGE, BLUE} <= colours(pixels)
    assert GREEN not in colours(pixels)


def test_bars_are_as_high_as_the_metrics(workspace, drawn):
    figure, _ = drawn["metrics"]
    bars = {}
    for title, panel in panels(figure).items():
        sets = [text.get_text() for text in panel.get_xticklabels()]
        for container in panel.containers:
            for bar in container:
                middle = bar.get_x() + bar.get_width() / 2
                bars[title, sets[round(middle)], container.get_label()] = bar.get_height()
    assert bars == {
        ("answer probability", "forget", "before"): 0.993,
        ("answer probability", "forget", "after"): 0.013,
        ("answer probability", "forget", "retain model"): 0.021,
        ("answer probability", "retain", "before"): 0.964,
        ("answer probability", "retain", "after"): 0.951,
        ("answer probability", "world facts", "after"): 0.972,
        ("ROUGE-L recall", "forget", "after"): 0.25,
        ("ROUGE-L recall", "retain", "after"): 0.96,
    }
    assert legend(figure) == list(MODELS)


def test_bars_stand_side_by_side(workspace, drawn):
    figure, _ = drawn["metrics"]
    for panel in figure.axes:
        edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bars in panel.containers for bar in bars)
        assert all(end <= start + 1e-9 for (_, end), (start, _) in pairwise(edges))


def test_the_plane_has_a_point_for_every_model_and_baseline(tmp_path):
    workspace = build(tmp_path, varied(retain_model={"forget": {"probability": 0.021}, "model_utility": 0.87}))
    add_attacks_and_baselines(workspace)
    figure, _ = draw(workspace)["plane"]
    [panel] = figure.axes
    points = {dots.get_label(): tuple(dots.get_offsets()[0].tolist()) for dots in panel.collections}
    models = {"before": (0.993, 0.9), "after": (0.013, 0.888), "retain model": (0.021, 0.87)}
    assert points == {**models, **BASELINES}
    assert legend(figure) == [*models, *BASELINES]


def test_curves_of_training_are_those_of_the_history(workspace, drawn):
    figure, _ = drawn["training"]
    curves = {
        title: [(line.get_label(), line.get_xydata().tolist()) for line in panel.get_lines()]
        for title, panel in panels(figure).items()
    }
    assert curves == {
        "forget term of the loss": [("forget_loss", [[1, 2.0], [2, 1.0]])],
        "retain term of the loss": [("retain_loss", [[1, 0.5], [2, 0.4]])],
        "NLL per answer token (nats)": [("forget", [[2, 4.0]]), ("unseen", [[2, 5.0]])],
        "probability of retain answers": [("retain_probability", [[2, 0.9]])],
    }
    assert all(step == int(step) for panel in figure.axes for step in panel.get_xticks())


def test_the_truth_ratio_is_drawn_as_the_share_at_or_below(workspace, drawn):
    figure, _ = drawn["truth_ratio"]
    curves = lines(figure.axes[0])
    assert set(curves) == set(MODELS)
    for role, label in (("before", "before"), ("after", "after"), ("retain_model", "retain model")):
        examples = pd.read_parquet(workspace.measured(role)[1])
        ratios = examples[examples["set"] == "forget"]["truth_ratio"].tolist()
        x, y = curves[label]
        for ratio in ratios:
            share = sum(smaller <= ratio for smaller in ratios) / len(ratios)
            assert y[np.flatnonzero(x == ratio)].max() == pytest.approx(share)


@pytest.mark.parametrize(("title", "column"), [("LOSS attack", "attack_loss"), ("Min-K% attack", "attack_min_k")])
def test_the_roc_counts_who_is_taken_for_a_member(workspace, drawn, title, column):
    figure, _ = drawn["roc"]
    curves = {label.split(", AUC ")[0]: (label, points) for label, points in lines(panels(figure)[title]).items()}
    assert list(curves) == list(MODELS)
    for role, name in (("before", "before"), ("after", "after"), ("retain_model", "retain model")):
        examples = pd.read_parquet(workspace.measured(role)[1])
        forgotten, unseen = (examples[examples["set"] == part][column].tolist() for part in ("forget", "holdout"))
        label, (false, true) = curves[name]
        possible = {
            (sum(score <= limit for score in unseen) / 12, sum(score <= limit for score in forgotten) / 12)
            for limit in [-np.inf, *forgotten, *unseen]
        }
        assert set(zip(false.tolist(), true.tolist(), strict=True)) <= possible
        assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
        wins = [(member < stranger) + (member == stranger) / 2 for member in forgotten for stranger in unseen]
        assert label.endswith(f"AUC {np.mean(wins):.2f}")
        assert np.trapezoid(true, false) == pytest.approx(np.mean(wins))


def test_attacks_are_drawn_from_weak_to_strong(workspace, drawn):
    figure, _ = drawn["robustness"]
    shown = panels(figure)
    assert list(shown) == [attack.replace("_", " ") for attack in CURVES]
    for attack, points in CURVES.items():
        panel = shown[attack.replace("_", " ")]
        assert [text.get_text() for text in panel.get_xticklabels()] == [str(point) for point in points]
        for label, share in (("before", 1), ("after", 2), ("retain model", 4)):
            x, y = lines(panel)[label]
            assert x.tolist() == list(range(len(points)))
            assert y == pytest.approx([(place + 1) / 10 / share for place in range(len(points))])
    assert shown["quantisation"].get_ylabel() == "answer probability"
    assert shown["sampling"].get_ylabel() == "ROUGE-L recall"
    assert legend(figure) == list(MODELS)


@pytest.mark.parametrize("history", [[], [{"epoch": 1.0, "forget_loss": 2.0}], [{"step": 1, "loss": 2.0}]])
@pytest.mark.parametrize("ratios", [None, [None, None], [0.0]])
@pytest.mark.parametrize("after", [{"model_utility": 0.5}, {"forget": {"probability": None, "n": 7}}])
def test_no_picture_without_numbers_not_even_an_old_one(tmp_path, history, ratios, after):
    nothing = Metrics(before={}, after=after, retain_model=None, unavailable={})
    workspace = build(tmp_path, nothing, history=history, ratios=ratios)
    plots = workspace.path(Place.PLOTS)
    plots.mkdir()
    for name in ("metrics", "plane", "roc", "truth_ratio", "robustness", "training"):
        (plots / f"{name}.png").write_bytes(PNG)
    assert draw(workspace) == {}
    assert list(plots.iterdir()) == []


def test_a_set_without_numbers_among_others_is_left_out(tmp_path):
    after = METRICS.after | {"poems": {"probability": None, "rouge_l_recall": None}}
    drawn = draw(build(tmp_path, varied(after=after, retain_model=None), history=[], ratios=[1e-12, 9e9]))
    assert list(drawn) == ["metrics", "plane", "truth_ratio"]
    figure, _ = drawn["metrics"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["forget", "retain", "world facts"]


def test_holes_in_attacks_and_scores_are_left_out(tmp_path):
    workspace = full(tmp_path)
    add_people(workspace, [["secret-ada"]], [float("nan")])
    write_text(workspace.attack_curve("relearning"), "model,x,value\nafter,0,\nafter,5,0.5\n")
    write_text(workspace.attack_curve("sampling"), "model,x,value\n")
    write_text(workspace.path(Place.BASELINES), "name,forget_probability,model_utility\nnpo,0.1,\n")
    drawn = draw(workspace)
    shown = panels(drawn["robustness"][0])
    assert "sampling" not in shown
    assert [line.get_xydata().tolist() for line in shown["relearning"].get_lines()] == [[[0, 0.5]]]
    assert [dots.get_label() for dots in drawn["plane"][0].axes[0].collections] == ["before", "after"]
    labels = [label.split(",")[0] for label in lines(panels(drawn["roc"][0])["LOSS attack"])]
    assert labels == ["before", "retain model"]
