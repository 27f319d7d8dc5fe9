"""Judges signatures as a receiver would, with code that shares nothing with the service.

Standard input: a JSON list of {"secret", "headers", "body" (hex)}. Standard output: for each, which verifiers accept it
as it is, and which accept it with any one byte of the body changed. `standard` is the published library, and is asked
only with the argument --library.
"""

import hashlib
import hmac
import json
import sys
import time


def ours(secret, headers, body):
    fields = [field.split("=", 1) for field in headers["x-asyncqueue-signature"].split(",")]
    sent = next(value for name, value in fields if name == "t")
    wanted = hmac.new(secret.encode(), sent.encode() + b"." + body, hashlib.sha256).hexdigest()
    matches = any(name == "v1" and hmac.compare_digest(value, wanted) for name, value in fields)
    return matches and abs(time.time() - int(sent)) <= 300


def standard(secret, headers, body):
    from standardwebhooks import Webhook, WebhookVerificationError

    try:
        # Bytes that are no UTF-8 cannot have been signed by anyone.
        return Webhook(secret).verify(body, headers) is not None
    except (WebhookVerificationError, UnicodeDecodeError):
        return False


def with_one_byte_changed(body):
    for place in range(len(body)):
        yield body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


verifiers = [ours] + ([standard] if "--library" in sys.argv else [])
verdicts = []
for case in json.load(sys.stdin):
    secret, headers, body = case["secret"], case["headers"], bytes.fromhex(case["body"])
    accepts = [judge.__name__ for judge in verifiers if judge(secret, headers, body)]
    changed = with_one_byte_changed(body) if case.get("change") else []
    fooled = [judge.__name__ for other in changed for judge in verifiers if judge(secret, headers, other)]
    verdicts.append({"accepts": accepts, "fooled": fooled})
json.dump(verdicts, sys.stdout)
