"""The text of an entry that an embedder makes its vector of."""

import json

import pytest

from swarm_operator.memory.sqlite.vectors.texts import MAX_TEXT, embedded_text

KEYS = {
    "note": "note", "team/payment_gateway-timeout": "team payment gateway timeout", "PaymentGateway": "PaymentGateway",
    "fact:agent-7:12": "fact agent", "node12": "node", "3f2504e0-4f89-11d3-9a0c-0305e82c3301": "",
    "fact:3F2504E0-4F89-11D3-9A0C-0305E82C3301/beef": "fact beef", "9f86d081884c7d65": "", "a1b2c3": "",
    "2026-11-26T08:00:00Z/log": "log", "müller:straße9": "müller straße", "日本語:1": "日本語", "42": "", ":::": "",
}  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_key_counts_by_its_words(key):
    assert embedded_text(key, b'{"a":["fox",1]}') == f"{KEYS[key]}\na fox 1"


def test_a_text_has_a_limit():
    long = json.dumps("fox " * 10_000).encode()
    assert len(embedded_text("key", long)) == MAX_TEXT
    assert embedded_text("k" * 1024, long).startswith("k" * 1024 + "\nfox")
