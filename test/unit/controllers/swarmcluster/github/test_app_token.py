import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from support.github import private_key, public_key

from swarm_operator.controllers.swarmcluster.github.app_token import MAX_PEM_BYTES, sign
from swarm_operator.controllers.swarmcluster.github.errors import GitHubError


def pem(key, encryption=None, form=serialization.PrivateFormat.PKCS8):
    return key.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption())


def test_it_is_signed_by_the_key_for_minutes_and_in_the_past(clock):
    token = sign(private_key(), 4711, clock.now())
    options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, public_key(private_key()), algorithms=["RS256"], options=options)
    now = clock.now().timestamp()
    assert claims == {"iss": "4711", "iat": now - 60, "exp": now + 540}


def test_both_forms_of_a_key_are_taken(clock):
    key = serialization.load_pem_private_key(private_key(), None)
    assert sign(pem(key), 1, clock.now())


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"no key",
        b"-----BEGIN RSA PRIVATE KEY-----\nsecret+words\n-----END RSA PRIVATE KEY-----\n",
        public_key(private_key()),
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        pem(ec.generate_private_key(ec.SECP256R1()), serialization.BestAvailableEncryption(b"password")),
        private_key() + b" " * MAX_PEM_BYTES,
    ],
    ids=["empty", "text", "damaged", "public", "elliptic", "short", "password", "long"],
)
def test_another_key_is_refused_and_not_quoted(clock, bad):
    with pytest.raises(GitHubError) as refused:
        sign(bad, 1, clock.now())
    assert refused.value.reason == "KeyInvalid"
    assert "secret+words" not in str(refused.value)
    assert refused.value.__cause__ is refused.value.__context__ is None
