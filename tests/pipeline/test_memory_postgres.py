"""The scene memory in PostgreSQL, on a real server."""

import itertools
from collections.abc import Iterator

import pytest

from pipeline.memory.postgres import PostgresStore
from tests.pipeline.store_suite import OPTIONS, Opened, StoreSuite, running
from tests.postgres import Server

pytestmark = pytest.mark.connected

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


class TestPostgresStore(StoreSuite):
    @pytest.fixture
    def opened(self, server: Server) -> Opened:
        return running(lambda: PostgresStore(server.address, schema=f"test{next(NUMBERS)}", **OPTIONS))
