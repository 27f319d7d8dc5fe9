"""Judges docs/openapi.json by the published schema validator: its examples, and the values on standard input, a JSON list of
[operationId, status or "request", value]. Prints a JSON list of what is wrong."""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

FILE = pathlib.Path(__file__).parents[2] / "docs" / "openapi.json"
DESCRIBED = json.loads(FILE.read_text())
REGISTRY = Registry().with_resource("urn:api", Resource(contents=DESCRIBED, specification=DRAFT202012))


def operations():
    for item in DESCRIBED["paths"].values():
        for operation in item.values():
            yield operation


def contents(operation):
    """Each body's place and its media type's description."""
    if "requestBody" in operation:
        for media in operation["requestBody"]["content"].values():
            yield "request", media
    for status, response in operation["responses"].items():
        for media in response.get("content", {}).values():
            yield status, media


def absolute(schema):
    """The schema with its references into the file."""
    if isinstance(schema, dict):
        return {k: "urn:api" + v if k == "$ref" else absolute(v) for k, v in schema.items()}
    return [absolute(item) for item in schema] if isinstance(schema, list) else schema


def judge(name, media, value):
    schema = absolute(media["schema"])
    Draft202012Validator.check_schema(schema)
    for error in Draft202012Validator(schema, registry=REGISTRY).iter_errors(value):
        deepest = min(error.context, key=lambda e: -len(list(e.absolute_path)), default=error)
        yield f"{name}: {'/'.join(map(str, error.absolute_path))}: {deepest.message[:300]}"
        return


def main():
    wrong = []
    for name, schema in DESCRIBED["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
    for operation in operations():
        for place, media in contents(operation):
            if "example" in media:
                wrong.extend(judge(f"example of {operation['operationId']} {place}", media, media["example"]))
            for example in media.get("examples", {}).values():
                wrong.extend(judge(f"example of {operation['operationId']} {place}", media, example["value"]))
    for identity, place, value in json.load(sys.stdin):
        found = [o for o in operations() if o["operationId"] == identity]
        media = [media for known, media in contents(found[0]) if known == place]
        wrong.extend(judge(f"{identity} {place}", media[0], value))
    json.dump(wrong, sys.stdout)


main()
