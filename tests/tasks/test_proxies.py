"""A proxy of the environment is for the world outside: loopback is named as an exception, beside those there are."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = "import json, os, tasks; print(json.dumps([os.environ.get('no_proxy'), os.environ.get('NO_PROXY')]))"
LOOPBACK = "127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    ("settings", "exceptions"),
    [
        ({}, None),
        ({"NO_PROXY": "example.org"}, "example.org"),
        ({"HTTPS_PROXY": "http://proxy:1"}, LOOPBACK),
        ({"http_proxy": "http://proxy:1", "NO_PROXY": "example.org, localhost"}, f"example.org,localhost,{LOOPBACK}"),
        ({"ALL_PROXY": "http://proxy:1", "no_proxy": ".example.org"}, f".example.org,{LOOPBACK}"),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "*"}, "*"),
        ({"HTTP_PROXY": ""}, None),
    ],
)
def test_loopback_is_spoken_to_directly(settings, exceptions):
    plain = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=plain | settings, capture_output=True, text=True, check=True
    )
    lower, upper = (value and ",".join(dict.fromkeys(value.split(","))) for value in json.loads(done.stdout))
    expected = exceptions and ",".join(dict.fromkeys(exceptions.split(",")))
    assert expected in (lower, upper)
    assert {lower, upper} <= {expected, None}
