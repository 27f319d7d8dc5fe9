"""What schemathesis cannot know of the service that it asks.

It must not have the service call strangers: every URL to call leads to a port on this machine that nobody listens on. It asks the
management API as the owner of a team, whose ids, keys and invitations it gets to know here, every other time; and it must not
saw off the branch that it sits on, by ending its own session or removing its own account. At the end it is judged whether it got anywhere."""

import atexit
import collections
import itertools
import json
import os

import schemathesis
from schemathesis import GenerationMode
from schemathesis.generation.meta import TestPhase

NOWHERE = "http://127.0.0.1:9999/"
KNOWN = json.loads(os.environ["AQ_SCHEMATHESIS_KNOWN"])
SEEN = os.environ["AQ_SCHEMATHESIS_SEEN"]

turns = itertools.count()
made = {"createApiKey": collections.deque(), "createInvitation": collections.deque()}
answered = collections.defaultdict(set)


def operation(case):
    return case.operation.definition.raw["operationId"]


@schemathesis.hook
def before_call(context, case, kwargs):
    call_nobody(case.body)
    protect(case)
    # What breaks the description stays broken, and a link leads to what it was made for.
    if is_good(case) and next(turns) % 2 == 0:
        lead(case)


def is_good(case):
    return (
        case.meta is not None
        and case.meta.generation.mode == GenerationMode.POSITIVE
        and case.meta.phase.name != TestPhase.STATEFUL
    )


def call_nobody(body):
    if isinstance(body, dict) and isinstance(body.get("targetUrl"), str) and body["targetUrl"]:
        body["targetUrl"] = NOWHERE
        if isinstance(body.get("onCompleteUrl"), str) and body["onCompleteUrl"]:
            body["onCompleteUrl"] = NOWHERE


def protect(case):
    """The run's own session and account stay."""
    name, ids = operation(case), case.path_parameters or {}
    own = (case.headers or {}).get("Authorization") == f"Bearer {KNOWN['token']}"
    if name == "signOut" and own and case.method == "POST":
        case.headers["Authorization"] = f"Bearer {KNOWN['spare'].pop() if KNOWN['spare'] else 'spent'}"
    if name == "revokeSession" and ids.get("sessionId") == KNOWN["session"]:
        ids["sessionId"] = KNOWN["nothing"]
    if ids.get("accountId") == KNOWN["owner"]:
        ids["accountId"] = KNOWN["member"]


def lead(case):
    """To things that are there."""
    name, ids = operation(case), case.path_parameters or {}
    body = case.body if isinstance(case.body, dict) else {}
    if "teamId" in ids:
        ids["teamId"] = KNOWN["team"]
    if "accountId" in ids:
        ids["accountId"] = KNOWN["member"]
    if "keyId" in ids and made["createApiKey"]:
        ids["keyId"] = made["createApiKey"].pop()["id"]
    if "invitationId" in ids and made["createInvitation"]:
        ids["invitationId"] = made["createInvitation"].pop()["id"]
    if name == "addMember" and "email" in body:
        body["email"] = KNOWN["member_signs_in"]["email"]
    if name == "signIn":
        body.update(KNOWN["member_signs_in"])
    if name == "acceptInvitation" and made["createInvitation"]:
        accept(case, body, made["createInvitation"].pop())


def accept(case, body, invitation):
    body["token"] = invitation["token"]
    if "email" in body:
        # Somebody new, who is not signed in.
        body["email"] = invitation["email"] or f"new{next(turns)}@example.com"
        body["password"] = KNOWN["member_signs_in"]["password"]
        case.headers.pop("Authorization", None)


@schemathesis.hook
def after_call(context, case, response):
    name = operation(case)
    answered[name].add(response.status_code)
    if name in made and response.status_code == 201:
        made[name].append(next(iter(response.json().values())))


@atexit.register
def tell():
    with open(SEEN, "w") as file:
        json.dump({name: sorted(statuses) for name, statuses in answered.items()}, file)
