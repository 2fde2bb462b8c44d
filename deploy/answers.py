"""Whether a server answers, for health checks: python deploy/answers.py URL. Asks past all proxies."""

import sys
import urllib.request

with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=5):
    pass  # an answer that is an error has raised
