#!/usr/bin/env python3
"""Signs webhooks with the providers' own libraries, and has them verify what they can only verify.

Writes tests/data/signatures/libraries.json, which the tests of src/providers verify. Run it again after a change:

    python3 -m venv v && v/bin/pip install standardwebhooks svix openai replicate elevenlabs PyJWT cryptography
    v/bin/python tests/oracles/signatures.py
"""

import base64
import datetime
import hashlib
import hmac
import json
import pathlib
import unittest.mock

import elevenlabs.client
import jwt
import openai
import replicate.webhook
import standardwebhooks
import svix
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

AT = 1760000000
NOW = datetime.datetime.fromtimestamp(AT, datetime.timezone.utc)
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
UNPADDED = "whsec_" + base64.b64encode(bytes(range(24))).decode()
BODIES = ['{"id":"a","status":"succeeded","n":196619188014358660}', "", 'é 😀 "\\u0000" \r\n', "x" * 5000]


def standard(template, body, secret, headers):
    return {"template": template, "body": body, "secret": secret, "headers": headers}


def names(signature, prefix="webhook"):
    return {f"{prefix}-id": "msg_1", f"{prefix}-timestamp": str(AT), f"{prefix}-signature": signature}


def standard_webhooks():
    for body in BODIES:
        for secret in (SECRET, UNPADDED):
            headers = names(standardwebhooks.Webhook(secret).sign("msg_1", NOW, body))
            if body.startswith("{"):
                openai.OpenAI(api_key="x").webhooks.verify_signature(body, headers, secret=secret)
                key = replicate.webhook.WebhookSigningSecret(key=secret)
                replicate.webhook.Webhooks.validate(headers=headers, body=body, secret=key, tolerance=300)
            yield standard("openai-responses", body, secret, headers)
        yield standard("replicate", body, SECRET, names(svix.Webhook(SECRET).sign("msg_1", NOW, body), "svix"))


def elevenlabs_signature():
    for body in BODIES[:1]:
        secret = "wsec_0123456789abcdef"
        digest = hmac.new(secret.encode(), f"{AT}.{body}".encode(), hashlib.sha256).hexdigest()
        header = f"t={AT},v0={digest}"
        elevenlabs.client.ElevenLabs(api_key="x").webhooks.construct_event(body, header, secret)
        yield standard("elevenlabs-stt", body, secret, {"elevenlabs-signature": header})


def encoded(number):
    size = (number.bit_length() + 7) // 8
    return base64.urlsafe_b64encode(number.to_bytes(size, "big")).rstrip(b"=").decode()


def gemini():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_numbers()
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key().public_numbers()
    member = lambda numbers, kid: {
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": encoded(numbers.n), "e": encoded(numbers.e)
    }
    jwks = {"keys": [member(other, "k1"), member(public, "k2")]}
    claims = {"iss": "https://generativelanguage.googleapis.com", "iat": AT, "aud": "https://q.example"}
    token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "k2"})
    options = {"verify_iat": False}
    jwt.decode(token, key.public_key(), algorithms=["RS256"], audience="https://q.example", options=options)
    yield {"template": "gemini-veo", "body": BODIES[0], "jwks": jwks, "headers": names(token)}


def fal():
    """By the recipe of fal's documentation; its client library does not verify."""
    keys = [ed25519.Ed25519PrivateKey.generate() for _ in range(3)]
    raw = lambda key: base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
    jwks = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": raw(key)} for key in keys]}
    for body in BODIES:
        message = "\n".join(["req", "user", str(AT), hashlib.sha256(body.encode()).hexdigest()])
        signature = keys[2].sign(message.encode()).hex()
        values = {"request-id": "req", "user-id": "user", "timestamp": str(AT), "signature": signature}
        headers = {f"x-fal-webhook-{name}": value for name, value in values.items()}
        yield {"template": "fal", "body": body, "jwks": jwks, "headers": headers}


def main():
    # Libraries that verify only look at the clock here.
    with unittest.mock.patch("time.time", return_value=float(AT)):
        vectors = [vector for make in (standard_webhooks, elevenlabs_signature, gemini, fal) for vector in make()]
    note = f"Made by tests/oracles/signatures.py for the time {AT}. The keys are for tests."
    target = pathlib.Path(__file__).parents[1] / "data/signatures/libraries.json"
    target.write_text(json.dumps({"note": note, "vectors": vectors}, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(vectors)} vectors in {target.name}")


if __name__ == "__main__":
    main()
