"""An issuer of service accounts' tokens, as a cluster's API server is one: real keys, real signatures."""

import json
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCE = "swarm-memory"
_MAKE = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class Issuer:
    """Signs tokens, by default with ES256, whose keys are made at once."""

    def __init__(self, *, kid="key-1", algorithm="ES256", url=ISSUER):
        self.url = url
        self.rotate(kid, algorithm)

    def rotate(self, kid, algorithm="ES256"):
        """Sign with another key from now on."""
        self.kid, self.algorithm = kid, algorithm
        self.private = _MAKE[algorithm]()

    @property
    def key(self):
        """The public key as a JSON Web Key."""
        made = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        return {name: value for name, value in made.items() if name != "key_ops"} | {
            "kid": self.kid, "alg": self.algorithm, "use": "sig",
        }  # fmt: skip

    def claims(self, *, namespace="swarm", account="agent", pod="agent-0", lifetime=600, issued=None, **claims):
        """The claims of a pod's projected token. None leaves one out."""
        issued = int(time.time()) if issued is None else issued
        bound = {"namespace": namespace, "serviceaccount": {"name": account, "uid": "2"}}
        if pod is not None:
            bound["pod"] = {"name": pod, "uid": "3"}
        made = {
            "aud": [AUDIENCE], "iss": self.url, "iat": issued, "nbf": issued, "exp": issued + lifetime, "jti": "1",
            "sub": f"system:serviceaccount:{namespace}:{account}", "kubernetes.io": bound, **claims,
        }  # fmt: skip
        return {name: value for name, value in made.items() if value is not None}

    def token(self, **claims):
        """A token; see claims."""
        return jwt.encode(self.claims(**claims), self.private, self.algorithm, headers={"kid": self.kid})

    def write(self, path, *accounts, keys=None):
        """Write the file by which the memory verifies tokens; `accounts` are (namespace, name, access, namespaces)."""
        document = {
            "issuer": self.url,
            "keys": [self.key] if keys is None else keys,
            "accounts": [account(*each) for each in accounts or [("swarm", "agent", "write")]],
        }
        path.write_text(json.dumps(document))


def account(namespace, name, access, namespaces=None):
    """An item of the file's list of accounts."""
    limited = {} if namespaces is None else {"namespaces": list(namespaces)}
    return {"namespace": namespace, "name": name, "access": access, **limited}
