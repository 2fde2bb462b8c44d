"""Step: the example's data: fictitious people, their deletion requests, world facts and unseen people.

Its workspace is the folder in which params.yaml looks for them.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.params import Params
from tasks.stamp import digest
from tasks.step import Step
from tasks.workspace import Place, Workspace
from unilogit.data.example import generate_example
from unilogit.errors import InputError
from unilogit.files import atomic_path

_DATA = (Place.EXAMPLE_CORPUS, Place.EXAMPLE_REQUESTS, Place.EXAMPLE_HOLDOUT)


def example_workspace(params: Params) -> Workspace:
    """Where the example lies.

    Raises:
        InputError: the parameters name other data.
    """
    workspace = Workspace(params.data.corpus.parent)
    data = params.data
    if [data.corpus, Path(data.requests), data.holdout] != [workspace.path(place) for place in _DATA]:
        raise InputError(
            "data.corpus, data.requests and data.holdout name your own data; the demo needs corpus.jsonl, requests and"
            " holdout.jsonl in one folder. For your own data type `unilogit run`"
        )
    return workspace


def run_example(workspace: Workspace, params: Params) -> str:
    """Write the fictitious customer directory where the parameters look for it.

    Raises:
        InputError: the parameters name other data, or data that are not the example's would be overwritten.
    """
    if example_workspace(params).root.absolute() != workspace.root.absolute():
        raise InputError(f"{workspace.root}: data.corpus looks for the example in {params.data.corpus.parent}")
    earlier = STEP.stamped_outputs(workspace)
    with TemporaryDirectory() as folder:
        line = generate_example(folder, **params.example.model_dump())
        fresh = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        targets = [workspace.root / path.relative_to(folder) for path in fresh]
        for path, target in zip(fresh, targets, strict=True):
            known = {None, digest(path), earlier.get(str(target.relative_to(workspace.root)))}
            if target.suffix == ".jsonl" and digest(target) not in known:
                raise InputError(
                    f"{target}: is not what this step made and would be overwritten; move {workspace.root} away"
                )
        for path, target in zip(fresh, targets, strict=True):
            with atomic_path(target) as temporary:
                temporary.write_bytes(path.read_bytes())
    return line.replace(folder, str(workspace.root))


STEP = Step(name="example", function=run_example, reads=(), writes=_DATA, params=("example",))

if __name__ == "__main__":
    STEP.command()
