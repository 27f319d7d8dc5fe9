#!/usr/bin/env python3
"""Checks that every provider template fits providers/schema.json."""

import json
import pathlib
import sys

try:
    import jsonschema
except ImportError:
    sys.exit("the package jsonschema is missing")

folder = pathlib.Path(__file__).parents[2] / "providers"
schema = json.loads((folder / "schema.json").read_text())
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
files = sorted(file for file in folder.glob("*.json") if file.name != "schema.json")
wrong = [
    f"{file.name}: {error.json_path}: {error.message}"
    for file in files
    for error in validator.iter_errors(json.loads(file.read_text()))
]
if wrong or len(files) < 58:
    sys.exit("\n".join(wrong) or "templates are missing")

# The schema is as strict as the program: what it knows nothing of is refused.
broken = json.loads((folder / "fal.json").read_text())
for change in ({"docs": 1}, {"extra": 1}, {"id": "Fal AI"}, {"idPath": "a..b"}, {"callback": {}}, {"retryOn": [200]}):
    if validator.is_valid({**broken, **change}):
        sys.exit(f"the schema takes {change}")
print(f"{len(files)} templates fit their schema")
