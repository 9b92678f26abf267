"""The embedder whose model ships with the service."""

import asyncio
import struct
import subprocess
import sys
import threading

import pytest

from swarm_operator.memory.core.errors import ConfigError
from swarm_operator.memory.embedding import static as module
from swarm_operator.memory.embedding.static import MAX_CHARACTERS, StaticEmbedder, static_embedder


def numbers(vector):
    return struct.unpack(f"<{len(vector) // 4}f", vector)


def cosine(one, other):
    return sum(a * b for a, b in zip(numbers(one), numbers(other), strict=True))


async def test_the_right_sentence_is_the_nearest_although_it_shares_no_word(static):
    questions = [
        "How do I get reimbursed?",
        "When does the shop open?",
        "How long is the flight?",
        "Who fixes the printer?",
    ]
    facts = [
        "Expense claims go into Concur before month end",
        "Store hours begin at nine each morning",
        "Eleven hours airborne from Frankfurt until Tokyo",
        "Call Dana at extension 4410 when hardware breaks",
    ]
    vectors = await static.embed(questions + facts)
    for place in range(4):
        cosines = [cosine(vectors[place], fact) for fact in vectors[4:]]
        assert cosines.index(max(cosines)) == place


async def test_vectors_have_the_width_that_is_said_and_the_length_one(static):
    (vector,) = await static.embed(["a payment gateway"])
    assert (static.width, len(numbers(vector))) == (256, 256)
    assert cosine(vector, vector) == pytest.approx(1, abs=1e-5)
    assert static.name == "static/wordllama-l2_supercat/256"


async def test_a_text_has_the_same_vector_alone_and_among_others(static):
    texts = [f"entry {number} of a batch" for number in range(100)]
    together = await static.embed(texts)
    for place in (0, 31, 32, 99):
        assert list(await static.embed([texts[place]])) == [together[place]]
    assert together[0] != together[31] != together[99]


async def test_a_text_without_anything_has_a_vector_of_zeros(static):
    assert list(await static.embed(["", " \n\t"])) == [bytes(4 * 256)] * 2
    assert await static.embed([]) == []


async def test_every_text_has_a_finite_vector(static):
    texts = ["\0", "日本語", "🦊" * 3000, "x" * 100_000, "\u202e", "<s></s><unk>"]
    for vector in await static.embed(texts):
        assert cosine(vector, vector) == pytest.approx(1, abs=1e-5)


async def test_only_the_beginning_of_a_long_text_counts(static):
    beginning = ("word " * MAX_CHARACTERS)[: MAX_CHARACTERS - 1] + "."
    one, other, shorter = await static.embed([beginning, beginning + " zebra" * 1000, beginning[:100] + " zebra"])
    assert one == other != shorter


async def test_the_work_is_done_on_a_thread_in_steps_between_which_a_question_has_its_turn(static, monkeypatch):
    threads, done, vectors = set(), [], static._vectors

    def record(texts):
        threads.add(threading.current_thread())
        return vectors(texts)

    async def ask(name, texts):
        await static.embed(texts)
        done.append(name)

    monkeypatch.setattr(static, "_vectors", record)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask("batch", ["a long batch"] * 1000))
        tasks.create_task(ask("question", ["a question"]))
    assert done == ["question", "batch"]
    assert threading.main_thread() not in threads
    assert len(threads) == 1


def test_the_tokenizer_starts_no_threads_of_its_own():
    code = """
import asyncio
from pathlib import Path
from swarm_operator.memory.embedding.static import static_embedder

async def main():
    with static_embedder() as embedder:
        embedder._thread.submit(embedder.load).result()
        before = len(list(Path("/proc/self/task").iterdir()))
        await embedder.embed([f"text {number} of many" for number in range(200)])
        print(len(list(Path("/proc/self/task").iterdir())) - before)

asyncio.run(main())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(module, "_PACKAGE", "no_such_package")
    named = pytest.raises(ConfigError, match=r"^embedder: static needs the packages wordllama and tokenizers")
    with named, static_embedder():
        pass


@pytest.mark.parametrize("content", [b"", b"\2\0\0\0\0\0\0\0{}", b"\xff" * 64])
def test_what_is_not_the_model_is_named(tmp_path, content):
    file = tmp_path / module._WEIGHTS
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"l2_supercat_256\.safetensors is not the static model"):
        StaticEmbedder(tmp_path, None)
