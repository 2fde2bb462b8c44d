"""`python -m unilogit.data.example --folder DIR`: write the example."""

import argparse
from pathlib import Path

from unilogit.data.example.generate import generate_example
from unilogit.errors import InputError


def main() -> None:
    """Read the arguments, write the example and say what was written."""
    parser = argparse.ArgumentParser(prog="python -m unilogit.data.example", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--unseen-people", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        print(generate_example(arguments.folder, arguments.people, arguments.unseen_people, arguments.seed))
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
