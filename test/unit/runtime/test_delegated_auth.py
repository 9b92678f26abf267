import asyncio

import pytest

from swarm_operator.runtime.delegated_auth import Answers, DelegatedAuth, Verdict

TOKEN = "s3cr3t-t0k3n"
USER = {"username": "scraper", "uid": "7", "groups": ["system:authenticated"], "extra": {"pod": ["p"]}}


@pytest.fixture
def auth(client, clock):
    return DelegatedAuth(client, clock=clock)


@pytest.fixture
def known(server):
    return server.json({"kind": "TokenReview", "status": {"authenticated": True, "user": USER}}, 201)


@pytest.fixture
def unknown(server):
    return server.json({"kind": "TokenReview", "status": {"error": "invalid bearer token"}}, 201)


@pytest.fixture
def allowed(server):
    return server.json({"kind": "SubjectAccessReview", "status": {"allowed": True}}, 201)


@pytest.fixture
def denied(server):
    return server.json({"kind": "SubjectAccessReview", "status": {"allowed": False}}, 201)


async def judged(auth, token=TOKEN, path="/metrics"):
    return await auth.judge(f"Bearer {token}", "GET", path)


async def test_who_is_known_and_may_read_it_may(server, auth, known, allowed):
    server.then(known, allowed)
    assert await judged(auth) is Verdict.ALLOWED
    review, access = server.asked
    assert review.path == "/apis/authentication.k8s.io/v1/tokenreviews"
    assert review.body["spec"] == {"token": TOKEN}
    assert access.path == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert access.body["spec"] == {
        "user": "scraper",
        "uid": "7",
        "groups": ["system:authenticated"],
        "extra": {"pod": ["p"]},
        "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
    }


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", TOKEN])
async def test_who_brings_no_bearer_token_is_not_known_and_nobody_is_asked(server, auth, header):
    assert await auth.judge(header, "GET", "/metrics") is Verdict.UNAUTHENTICATED
    assert server.asked == []


async def test_a_token_that_the_server_does_not_know_is_nobody_s(server, auth, unknown):
    server.then(unknown)
    assert await judged(auth) is Verdict.UNAUTHENTICATED
    assert len(server.asked) == 1


async def test_who_is_known_and_may_not_is_denied(server, auth, known, denied):
    server.then(known, denied)
    assert await judged(auth) is Verdict.DENIED


@pytest.mark.parametrize("failing", ["the token's review", "the right's review"])
async def test_when_the_server_fails_nobody_is_let_in_and_the_next_is_asked_for_again(
    server, auth, known, allowed, failing, logged
):
    failure = server.status(403, "Forbidden", "no right to create reviews")
    server.then(*([failure, known] if failing == "the token's review" else [known, failure]), allowed)
    assert await judged(auth) is Verdict.UNKNOWN
    assert "no right to create reviews" in str(logged)
    assert await judged(auth) is Verdict.ALLOWED


async def test_the_scheme_may_be_written_in_any_case(server, auth, known, allowed):
    server.then(known, allowed)
    assert await auth.judge(f"bearer  {TOKEN}", "GET", "/metrics") is Verdict.ALLOWED
    assert server.asked[0].body["spec"] == {"token": TOKEN}


async def test_an_answer_is_believed_for_a_while(server, auth, clock, known, allowed):
    """A token for a minute, a right for five."""
    server.then(known, allowed, known, known, allowed)
    for seconds, asked in ((0, 2), (59, 2), (2, 3), (298, 5)):
        clock.advance(seconds)
        assert await judged(auth) is Verdict.ALLOWED
        assert len(server.asked) == asked


async def test_a_refusal_is_believed_for_half_a_minute(server, auth, clock, known, denied, allowed):
    server.then(known, denied, allowed)
    assert await judged(auth) is Verdict.DENIED
    clock.advance(29)
    assert await judged(auth) is Verdict.DENIED
    clock.advance(2)
    assert await judged(auth) is Verdict.ALLOWED


async def test_a_right_is_for_one_path_and_one_verb(server, auth, known, allowed, denied):
    server.then(known, allowed, denied, denied)
    assert await judged(auth) is Verdict.ALLOWED
    assert await judged(auth, path="/debug") is Verdict.DENIED
    assert await auth.judge(f"Bearer {TOKEN}", "HEAD", "/metrics") is Verdict.DENIED
    asked = [request.body["spec"].get("nonResourceAttributes") for request in server.asked[1:]]
    assert asked == [
        {"path": "/metrics", "verb": "get"},
        {"path": "/debug", "verb": "get"},
        {"path": "/metrics", "verb": "head"},
    ]


async def test_another_token_is_another_question(server, auth, known, allowed, unknown):
    server.then(known, allowed, unknown)
    assert await judged(auth) is Verdict.ALLOWED
    assert await judged(auth, "another") is Verdict.UNAUTHENTICATED


async def test_those_who_ask_at_once_wait_for_one_answer(server, auth, known, allowed):
    server.then(known, allowed)
    assert set(await asyncio.gather(*(judged(auth) for _ in range(20)))) == {Verdict.ALLOWED}
    assert len(server.asked) == 2


async def test_reviews_that_run_or_wait_are_bounded(server, auth, clock, background, known, allowed, settled):
    """Further callers are told so at once; one whose token is under review waits, and a known one needs no review."""
    server.then(known, allowed)
    assert await judged(auth) is Verdict.ALLOWED
    waiting = [background(judged(auth, f"made up {number}")) for number in range(16)]
    await settled()
    assert await judged(auth, "one more") is Verdict.BUSY
    again = background(judged(auth, "made up 0"))
    await settled()
    assert not again.done()
    assert await judged(auth) is Verdict.ALLOWED
    server._closing.set()
    await asyncio.wait([*waiting, again], timeout=20)
    assert await judged(auth, "one more") is Verdict.UNAUTHENTICATED


async def test_one_who_gives_up_waiting_takes_the_answer_from_nobody(server, auth, background, allowed):
    release = asyncio.Event()

    async def late(_):
        await release.wait()
        return await server.json({"status": {"authenticated": True, "user": USER}})(_)

    server.then(late, allowed)
    first, second = background(judged(auth)), background(judged(auth))
    await server.wait_asked(1)
    first.cancel()
    release.set()
    assert await second is Verdict.ALLOWED


async def test_no_token_is_kept_or_logged(server, auth, known, denied, logged):
    server.then(known, denied)
    await judged(auth)
    assert TOKEN not in str(logged)
    assert TOKEN not in repr([auth._users, auth._rights])


async def test_of_many_answers_the_newest_are_kept(clock):
    answers = Answers(lambda _: 60.0, clock, limit=3)
    asked = []

    async def get(question):
        async def ask():
            asked.append(question)
            return True

        await answers.get(question, ask)

    for question in (1, 2, 3, 4):
        await get(question)
    assert len(answers) == 3
    asked.clear()
    for question in (2, 3, 4, 1):
        await get(question)
    assert asked == [1]
    assert len(answers) == 3
