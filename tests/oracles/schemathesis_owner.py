"""Makes the first account by its setup link, signs in as it, and makes what the management API can be asked about. Takes the
service's URL and the link; prints what the hooks and the run need to know as JSON."""

import json
import sys

import requests

OWNER = {"email": "owner@example.com", "password": "seven quiet rivers under a lantern"}
MEMBER = {"email": "member@example.com", "password": "nine loud harbours beside a mountain"}
NOTHING = "01890000-0000-7000-8000-000000000000"


def main(url, link):
    def ask(method, path, bearer=None, **body):
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        answer = requests.request(method, url + path, headers=headers, json=body or None, timeout=20)
        answer.raise_for_status()
        return answer.json()

    form = {**OWNER, "name": "Owner"}
    requests.post(link, data=form, headers={"Origin": url}, allow_redirects=False, timeout=20).raise_for_status()
    signed = ask("POST", "/signin", **OWNER)
    token = signed["token"]
    team = ask("POST", "/teams", token, name="Known")["team"]["id"]
    invitation = ask("POST", f"/teams/{team}/invitations", token, role="reader")["invitation"]
    member = ask("POST", "/invitations/accept", token=invitation["token"], **MEMBER)
    sessions = ask("GET", "/sessions", token)["sessions"]
    known = {
        "token": token,
        "owner": signed["account"]["id"],
        "session": next(session["id"] for session in sessions if session["current"]),
        "spare": [ask("POST", "/signin", **OWNER)["token"] for _ in range(5)],
        "team": team,
        "member": member["account"]["id"],
        "member_signs_in": MEMBER,
        "nothing": NOTHING,
    }
    json.dump(known, sys.stdout)


main(*sys.argv[1:])
