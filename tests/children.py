"""Children of tests that start from a clean process: the tests' own may hold threads and hooks of servers by now."""

import multiprocessing

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.test_files", "tests.ledger.test_migrations", "tests.ledger.test_transactions"])
