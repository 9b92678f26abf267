"""Rows that are read by their IDs, many in one statement."""

import json
import random
import re

from swarm_operator.memory.core import Delete, Draft, Put
from swarm_operator.memory.sqlite.search.candidates import by_id, by_ids


async def test_rows_come_in_the_order_of_their_ids_by_few_statements(store):
    await store.batch([Put(Draft.create("a", f"k{number}", number)) for number in range(700)])
    await store.batch([Delete(("a", f"k{number}")) for number in range(0, 700, 7)])
    ids = random.Random(0).choices(range(-1, 720), k=800)
    sent = []

    def read(db):
        db.set_trace_callback(sent.append)
        together = [*by_ids(db, ids)]
        db.set_trace_callback(None)
        return together, [(row_id, by_id(db, row_id)) for row_id in ids]

    together, one_by_one = await store._readers.read_pages(read)
    assert together == one_by_one
    assert {row is None for _, row in together} == {True, False}
    sizes = [len(json.loads(found[1])) for sql in sent if (found := re.search(r"json_each\('(.*)'\)", sql))]
    assert sizes == [16, 64, 256, 256, 208]  # a caller that stops early has read few
