// The dashboard in a real browser: `node tests/browser/run.mjs BINARY [--screenshots FOLDER]`.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { LOOKS, judge, launch, open } from "./browser.mjs";
import { enter } from "./people.mjs";
import { strings } from "./strings.mjs";
import { KEY, World, until } from "./world.mjs";

const [binary, ...rest] = process.argv.slice(2);
const shots = rest[0] === "--screenshots" ? rest[1] : null;
const faults = [];
const tests = [];
const test = (name, run) => tests.push([name, run]);

/// Every page there is, with the name of its picture.
const pages = (ids) => ({
  overview: "/",
  tasks: "/tasks",
  "tasks-failed": "/tasks?status=failed",
  "tasks-nothing": "/tasks?text=no-such-thing",
  "task-failed": `/tasks/${ids.failed}`,
  "task-refused": `/tasks/${ids.refused}`,
  "task-completed": `/tasks/${ids.completed}`,
  "task-waiting": `/tasks/${ids.waiting}`,
  "task-polling": `/tasks/${ids.polling}`,
  "task-timeout": `/tasks/${ids.timeout}`,
  "task-delayed": `/tasks/${ids.delayed}`,
  providers: "/providers",
  endpoints: "/endpoints",
  vault: "/vault",
  team: "/team",
  account: "/account",
  audit: "/audit",
  settings: "/settings",
});

test("a new service teaches its first task", async ({ browser, world, state }) => {
  const page = await open(browser, world.base, faults, { state });
  await page.goto(world.base);
  assert.match(await page.textContent("main"), /Create the first task/);
  await page.click(".paste .copy");
  const copied = await until("the command is copied", () => page.evaluate(() => navigator.clipboard.readText()));
  assert.match(copied, /curl -s http:\/\/127\.0\.0\.1:\d+\/v1\/tasks/);
  await page.context().close();
});

test("every page is fit for everybody, wide and narrow, light and dark", async ({ browser, world, state, ids }) => {
  for (const look of LOOKS) {
    const page = await open(browser, world.base, faults, { ...look, state });
    for (const [name, path] of Object.entries(pages(ids))) {
      await page.goto(world.base + path, { waitUntil: "load" });
      // What opens is judged too.
      await page.evaluate(() => { for (const act of document.querySelectorAll("details.sure")) act.open = true; });
      const wrong = await judge(page);
      assert.deepEqual(wrong, [], `${path} at ${look.width} ${look.scheme}`);
      await page.evaluate(() => { for (const act of document.querySelectorAll("details.sure")) act.open = false; });
      if (shots) await page.screenshot({ path: join(shots, `${name}-${look.width}-${look.scheme}.png`), fullPage: look.width > 600 || !name.startsWith("tasks-n") });
    }
    await page.context().close();
  }
});

test("why a task failed is said in words", async ({ browser, world, state, ids }) => {
  const page = await open(browser, world.base, faults, { state });
  const said = async (id) => {
    await page.goto(`${world.base}/tasks/${id}`);
    return (await page.textContent("main")).replace(/\s+/g, " ");
  };
  assert.match(await said(ids.failed), /Server error: HTTP 503 - Service Unavailable.*3 attempts failed, each time: HTTP 503/);
  assert.match(await said(ids.refused), /Target rejected the request: HTTP 422.*A refusal is final.*prompt: field is required/);
  assert.match(await said(ids.timeout), /Nobody told the result within 1(\.0)? s/);
  assert.match(await said(ids.waiting), /Waiting to be told/);
  const refused = await said(ids.refused);
  assert.doesNotMatch(refused, /sk-very-secret/);
  await page.context().close();
});

test("without a script everything can be read and done", async ({ browser, world, state, ids }) => {
  const page = await open(browser, world.base, faults, { state, script: false });
  await page.goto(`${world.base}/tasks`);
  await page.fill("#text", "/v1/videos");
  await page.click('.filters button[type="submit"]');
  assert.equal(await page.locator("tbody tr").count(), 2);
  await page.click(`a[href="/tasks/${ids.failed}"]`);
  assert.match(await page.textContent("main"), /3 attempts failed/);
  await page.locator("details.account > summary").click();
  await page.click('button[name="theme"][value="dark"]');
  assert.equal(await page.getAttribute("html", "data-theme"), "dark");
  assert.equal(page.url(), `${world.base}/tasks/${ids.failed}`);
  await page.context().close();
});

test("a keyboard reaches the page first and the rest in order", async ({ browser, world, state }) => {
  const page = await open(browser, world.base, faults, { state });
  await page.goto(`${world.base}/tasks`);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the page");
  await page.keyboard.press("Enter");
  assert.equal(new URL(page.url()).hash, "#main");
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => document.querySelector("main").contains(document.activeElement)));
  await page.context().close();
});

test("an open page hears of what happens", async ({ browser, world, state }) => {
  const page = await open(browser, world.base, faults, { state });
  await page.goto(`${world.base}/tasks`);
  await until("the page changes", () => page.evaluate(() => document.querySelector("[data-live-sign]").textContent === "Live"));
  const { task } = await world.create("/accept/v1/fresh", { waitForSignal: true, maxWaitTime: 600 });
  await page.waitForSelector(`a[href="/tasks/${task.id}"]`);
  await page.goto(`${world.base}/tasks/${task.id}`);
  await world.reached(task.id, "waiting");
  await until("the page changes", () => page.evaluate(() => document.querySelector("[data-live-sign]").textContent === "Live"));
  await world.api("POST", `/v1/tasks/${task.id}/cancel`);
  await until("the page changes", () => page.evaluate(() => document.querySelector("main").textContent.includes("Cancelled by its owner")));
  await page.context().close();
});

test("one task is cancelled, retried, and its webhook sent again by hand", async ({ browser, world, state, ids }) => {
  const page = await open(browser, world.base, faults, { state });
  const { task } = await world.create("/v1/later", { delayUntil: new Date(Date.now() + 900_000).toISOString() });
  await page.goto(`${world.base}/tasks/${task.id}`);
  await page.click('form[action$="/cancel"] button');
  await page.waitForSelector(".status.big.s-cancelled");
  await page.click('form[action$="/retry"] button');
  await until("the new task is shown", () => !page.url().includes(task.id));
  assert.match(await page.textContent("main"), new RegExp(`Retry of.*${task.id}`, "s"));
  await page.goto(`${world.base}/tasks/${ids.completed}`);
  await page.click('form[action$="/resend"] button');
  await page.waitForURL(/done=resend/);
  await page.context().close();
});

test("many are cancelled with a count first, and once", async ({ browser, world, state }) => {
  for (let n = 0; n < 3; n += 1) await world.create(`/v1/crowd/${n}`, { delayUntil: new Date(Date.now() + 900_000).toISOString() });
  const page = await open(browser, world.base, faults, { state });
  await page.goto(`${world.base}/tasks?text=%2Fv1%2Fcrowd%2F&status=delayed`);
  assert.ok(await page.isDisabled('button[value="cancel"]'));
  await page.locator('input[name="id"]').first().check();
  assert.equal(await page.textContent("[data-picked]"), "1 task picked");
  await page.click('button[value="cancel-all"]');
  assert.equal(await page.textContent("h1"), "Cancel 3 tasks?");
  await page.click("button.primary");
  await page.waitForURL(/done=cancel&count=3/);
  await page.goto(`${world.base}/tasks?text=%2Fv1%2Fcrowd%2F&status=cancelled`);
  await page.click('button[value="retry-all"]');
  await page.evaluate(() => { document.querySelector('form[action="/tasks/many/do"]').target = "_blank"; });
  const [popup] = await Promise.all([page.context().waitForEvent("page"), page.click("button.primary")]);
  await popup.waitForURL(/done=retry&count=3/);
  await page.evaluate(() => { document.querySelector('form[action="/tasks/many/do"]').target = ""; });
  await page.click("button.primary");
  await page.waitForURL(/done=retry&count=3/);
  await page.goto(`${world.base}/tasks?text=%2Fv1%2Fcrowd%2F`);
  assert.equal(await page.locator("tbody tr").count(), 6, "a second click made no further tasks");
  await page.context().close();
});

test("a secret and an endpoint are made and deleted by hand, without a script", async ({ browser, world, state }) => {
  const page = await open(browser, world.base, faults, { state, script: false });
  const panel = (name) => page.getByRole("region", { name, exact: true });
  await page.goto(`${world.base}/vault`);
  await page.fill("#name", "made by hand");
  await page.fill("#value", "whsec_shown-to-nobody");
  await page.selectOption("#use", "verify");
  await page.click('form[action="/vault/new"] button');
  const reference = (await page.textContent(".notice.ok pre")).trim();
  assert.match(reference, /^tok_[0-9a-f]{32}$/);
  assert.doesNotMatch(await page.content(), /shown-to-nobody/);
  await page.goto(`${world.base}/endpoints`);
  await page.selectOption("#provider", "openai");
  await page.selectOption("#secret", reference);
  await page.click('form[action="/endpoints/new"] button');
  const url = (await page.textContent(".notice.ok pre")).trim();
  assert.equal((await fetch(url, { method: "OPTIONS" })).status, 200);
  await page.goto(`${world.base}/endpoints`);
  assert.equal(await page.getByText(url).count(), 0, "a URL is shown once");
  const made = panel("Endpoints").getByRole("row").filter({ hasText: reference });
  await made.locator("summary", { hasText: "New URL" }).click();
  await made.getByRole("button", { name: "Make a new URL" }).click();
  const other = (await page.textContent(".notice.ok pre")).trim();
  assert.deepEqual(await Promise.all([url, other].map((one) => fetch(one, { method: "OPTIONS" }).then((answer) => answer.status))), [404, 200]);
  await made.locator("summary", { hasText: "Delete" }).click();
  await made.getByRole("button", { name: "Delete the endpoint" }).click();
  assert.equal((await fetch(other, { method: "OPTIONS" })).status, 404);
  await page.goto(`${world.base}/vault`);
  const kept = panel("Vault").getByRole("row").filter({ hasText: reference });
  await kept.locator("summary").click();
  await kept.getByRole("button", { name: "Delete the token" }).click();
  assert.match(await page.textContent(".notice.ok"), /“made by hand” is deleted/);
  assert.equal(await kept.count(), 0);
  await page.context().close();
});

test("two hundred hostile strings in every field do nothing", async ({ browser, world, state }) => {
  const attacks = await strings();
  assert.ok(attacks.length > 200, `${attacks.length} strings`);
  const ids = [];
  // A handful in each task, so that every field holds each of them.
  for (let at = 0; at < attacks.length; at += 8) {
    const some = attacks.slice(at, at + 8);
    const cut = (text, most) => Array.from(text).slice(0, most).join("");
    const text = cut(some.join(" "), 600);
    const short = encodeURIComponent(cut(some.map((one) => cut(one, 60)).join(" "), 300));
    const { task, callbackUrl } = await world.create(`/echo/${short}?webhook={asyncqueue_callback_url}&q=${short}`, {
      body: JSON.stringify({ attacks: some, [some[0]]: some }),
      headers: { "x-attack": `x${text.replace(/[^\x20-\x7e]/g, "?")}x` },
      metadata: { "<b onmouseover=alert(1)>": text, note: cut(some[1] ?? "", 200) },
      onCompleteUrl: `${world.targetUrl}/hook/${short}`,
      maxWaitTime: 600,
    });
    await world.reached(task.id, "waiting");
    await fetch(callbackUrl, { method: "POST", body: JSON.stringify(Object.fromEntries(some.map((one, n) => [`${n} ${one}`, [one]]))) });
    ids.push(task.id);
    const signal = await world.create("/accept", { waitForSignal: true, maxWaitTime: 600 });
    await world.reached(signal.task.id, "waiting");
    await fetch(`${world.base}/v1/signals/${signal.signalToken}`, { method: "POST", body: JSON.stringify({ status: "failed", error: text }) });
    ids.push(signal.task.id);
  }
  const names = attacks.filter((text) => text.trim() && text.length <= 100 && !/\p{C}/u.test(text)).slice(0, 60);
  for (const name of names) await world.api("POST", "/v1/tokens", { name, value: "x" });
  const page = await open(browser, world.base, faults, { state });
  for (const id of ids) await page.goto(`${world.base}/tasks/${id}`);
  for (const path of ["/", "/tasks", "/vault", "/audit", "/team", "/endpoints"]) await page.goto(world.base + path);
  for (const name of names.slice(0, 20)) {
    await page.goto(`${world.base}/vault`);
    await page.fill("#name", name);
    await page.fill("#value", name);
    await page.fill("#hosts", name);
    await page.click('form[action="/vault/new"] button');
    assert.equal(await page.inputValue("#name"), await page.locator(".notice.bad").count() ? name.trim() : "", "what was typed, if it was not taken");
  }
  for (const text of attacks) await page.goto(`${world.base}/tasks?${new URLSearchParams({ text, host: text, provider: text, from: text, done: text, before: text })}`);
  const markup = await page.evaluate(() => document.querySelectorAll("main img, main iframe, main object, main embed, main script, main style, main [onerror], main [onload]").length);
  assert.equal(markup, 0);
  await page.context().close();
});

test("what is stored is saved and never shown as a page", async ({ browser, world, state, ids }) => {
  const page = await open(browser, world.base, faults, { state });
  const answer = await page.request.get(`${world.base}/tasks/${ids.completed}/result`);
  const headers = answer.headers();
  assert.match(headers["content-disposition"], /^attachment/);
  assert.match(headers["content-type"], /^text\/plain/);
  assert.match(headers["content-security-policy"], /sandbox/);
  assert.equal(headers["x-content-type-options"], "nosniff");
  await page.context().close();
});

test("the API's own page is fit for everybody, and asks for no script and nobody to sign in", async ({ browser, world }) => {
  for (const look of LOOKS) {
    const page = await open(browser, world.base, faults, look);
    await page.goto(`${world.base}/docs`, { waitUntil: "load" });
    assert.deepEqual(await judge(page), [], `/docs at ${look.width} ${look.scheme}`);
    if (shots) await page.screenshot({ path: join(shots, `docs-${look.width}-${look.scheme}.png`) });
    await page.context().close();
  }
  const page = await open(browser, world.base, faults, { script: false });
  await page.goto(`${world.base}/docs`);
  await page.click('nav a[href="#createTask"]');
  assert.match(await page.textContent("article:target"), /targetUrl/);
  await page.click('nav a[href="#addMember"]');
  assert.match(await page.textContent("article:target"), /Session token.*Account not found/s);
  await page.context().close();
});

test("nobody who is not signed in sees anything", async ({ browser, world, ids }) => {
  const page = await open(browser, world.base, faults);
  for (const path of Object.values(pages(ids))) {
    await page.goto(world.base + path);
    assert.equal(new URL(page.url()).pathname, "/login", path);
  }
  assert.deepEqual(await judge(page), [], "the page to sign in");
  if (shots) await page.screenshot({ path: join(shots, "login-1440-light.png") });
  const key = await fetch(`${world.base}/tasks`, { headers: { authorization: `Bearer ${KEY}` }, redirect: "manual" });
  assert.equal(key.status, 303, "an API key opens no page");
  await page.context().close();
});

async function main() {
  if (shots) await mkdir(shots, { recursive: true });
  const world = await World.start(binary);
  const browser = await launch();
  let failed = 0;
  try {
    const state = await enter(world, browser, faults, async (page) => {
      assert.deepEqual(await judge(page), [], "the page of the setup link");
    });
    const about = { world, browser, state };
    for (const [name, run] of tests) {
      if (tests[1][0] === name) about.ids = await world.seed();
      const start = Date.now();
      try {
        await run(about);
        assert.deepEqual(faults.splice(0), [], "what the browser complained about");
        console.log(`ok    ${name} (${Date.now() - start} ms)`);
      } catch (error) {
        failed += 1;
        faults.length = 0;
        console.log(`FAIL  ${name}\n${error.stack}`);
      }
    }
  } finally {
    await browser.close();
    await world.stop();
  }
  if (failed) console.log(world.output.slice(-3000));
  process.exit(failed ? 1 : 0);
}

await main();
