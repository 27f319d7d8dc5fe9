"""Whether a run of schemathesis got anywhere: every operation of the description was asked, tasks were made and read, and every one
of the management API was done at least once. Takes the file that the hooks wrote."""

import json
import pathlib
import sys

DESCRIBED = json.loads((pathlib.Path(__file__).parents[2] / "docs" / "openapi.json").read_text())

# A password is changed by who knows it, and a session of one's own is ended by who has its id; the run keeps its own.
NOT_DONE = {"setPassword", "revokeSession"}


def main(path):
    answered = json.loads(pathlib.Path(path).read_text())
    operations = [operation for item in DESCRIBED["paths"].values() for operation in item.values()]
    # The description itself is what the run begins with.
    names = {operation["operationId"] for operation in operations} - {"getOpenApi"}
    wanted = {"createTask", "getTask", "signIn"} | {o["operationId"] for o in operations if {"session": []} in o.get("security", [])}
    done = {name for name, statuses in answered.items() if any(status < 300 for status in statuses)}
    never, never_done = sorted(names - answered.keys()), sorted(wanted - NOT_DONE - done)
    if never or never_done:
        sys.exit(f"Never asked: {never}. Never done: {never_done}. Answered: {answered}")
    print(f"{len(names)} operations asked, {len(done)} of them done")


main(sys.argv[1])
