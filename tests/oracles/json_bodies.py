"""Judges JSON texts: hexadecimal lines on standard input; for each the meaning as JSON, spelling of numbers kept, or `invalid`."""

import json
import sys


def refuse(constant):
    raise ValueError(constant)


def meaning(line):
    try:
        return json.dumps(
            json.loads(
                bytes.fromhex(line).decode("utf-8"),
                parse_constant=refuse,
                parse_int=lambda text: ["number", text],
                parse_float=lambda text: ["number", text],
                object_pairs_hook=lambda pairs: ["object", pairs],
            )
        )
    except ValueError:
        return "invalid"


for line in sys.stdin.read().split("\n")[:-1]:
    print(meaning(line))
