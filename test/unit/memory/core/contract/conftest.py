"""A store of each engine: SQLite, and the store of the tests, which shares no code with SQLite's."""

import pytest
from support.engines import MEMORY, SHORT_PAGES, SQLITE, open_store


@pytest.fixture(params=[SQLITE, MEMORY, SHORT_PAGES])
def engine(request):
    return request.param


@pytest.fixture
async def store(engine, tmp_path, clock):
    async with open_store(engine, tmp_path / "store.db", clock=clock, changes_kept=5) as opened:
        yield opened
