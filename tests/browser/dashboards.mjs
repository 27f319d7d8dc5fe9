// What ten open dashboards cost a service that resolves as fast as it can: `node tests/browser/dashboards.mjs BINARY [ROUNDS]`.
// Rounds with and without take turns, and medians are compared. Prints; decides nothing.

import http from "node:http";
import { launch } from "./browser.mjs";
import { enter } from "./people.mjs";
import { World } from "./world.mjs";

const [binary, rounds = "7"] = process.argv.slice(2);
// Enough that a round lasts several beats of the live pages, which are two seconds apart.
const TASKS = 40_000;
const AT_ONCE = 32;
const PAGES = ["/", "/", "/", "/", "/", "/tasks", "/tasks", "/tasks", "/tasks?status=completed", "/tasks?status=waiting"];

async function each(items, act) {
  const queue = items[Symbol.iterator]();
  const worker = async () => { for (const item of queue) await act(item); };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });

function post(url) {
  return new Promise((done, fail) => {
    const request = http.request(url, { method: "POST", agent }, (answer) => { answer.resume(); answer.on("end", () => done(answer.statusCode)); });
    request.on("error", fail);
    request.end('{"status":"succeeded","output":"https://cdn.example.com/a.png"}');
  });
}

/// A page as a browser keeps it fresh: a stream of news, and the page again for each.
async function look(base, cookie, path, gone) {
  const headers = { cookie, "x-asyncqueue-part": "1" };
  const stream = await fetch(`${base}/live`, { headers, signal: gone });
  let fetched = 0;
  const follow = async () => {
    for await (const piece of stream.body.pipeThrough(new TextDecoderStream())) {
      if (!piece.includes("event: news")) continue;
      const page = await fetch(base + path, { headers, signal: gone });
      if (!page.ok) throw new Error(`${path}: ${page.status}`);
      await page.text();
      fetched += 1;
    }
  };
  follow().catch((error) => { if (!gone.aborted) throw error; });
  return () => fetched;
}

const world = await World.start(binary);
const browser = await launch();
const rates = { alone: [], watched: [] };
let fetched = 0;
try {
  const state = await enter(world, browser, []);
  const cookie = state.cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
  for (let round = 0; round < 2 * Number(rounds); round += 1) {
    const urls = [];
    await each(Array.from({ length: TASKS }), async () => {
      urls.push((await world.create("/accept?webhook={asyncqueue_callback_url}", { maxWaitTime: 3600 })).callbackUrl);
    });
    await world.allWait();
    const gone = new AbortController();
    const watched = round % 2 === 1;
    const counts = watched ? await Promise.all(PAGES.map((path) => look(world.base, cookie, path, gone.signal))) : [];
    const start = performance.now();
    await each(urls, async (url) => { if ((await post(url)) !== 200) throw new Error("a callback was refused"); });
    rates[watched ? "watched" : "alone"].push(TASKS / (performance.now() - start) * 1000);
    const now = counts.reduce((sum, count) => sum + count(), 0);
    gone.abort();
    if (watched && now < PAGES.length) throw new Error(`only ${now} pages were fetched in a round: it was too short to say anything`);
    fetched += now;
  }
} finally {
  await browser.close();
  await world.stop();
}
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const [alone, watched] = [median(rates.alone), median(rates.watched)];
console.log(`resolved per second: ${alone.toFixed(0)} alone, ${watched.toFixed(0)} with ten dashboards open (${fetched} pages fetched): ${(watched / alone).toFixed(3)}`);
