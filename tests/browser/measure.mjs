// How quick pages are at a million tasks: `node tests/browser/measure.mjs BINARY [TASKS]`. Prints medians; decides nothing.

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { launch, open } from "./browser.mjs";
import { enter } from "./people.mjs";
import { World } from "./world.mjs";

const [binary, count = "1000000"] = process.argv.slice(2);
const ROUNDS = 11;

/// Makes many tasks of one, as the store would have them: nine of ten completed, the rest in other states.
function multiply(file, count) {
  const sql = `
    PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
    CREATE TEMP TABLE first AS SELECT * FROM task ORDER BY key DESC LIMIT 1;
    CREATE TEMP TABLE many AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
      SELECT i, CASE WHEN i % 100 < 90 THEN 5 WHEN i % 100 < 96 THEN 6 WHEN i % 100 < 97 THEN 7 WHEN i % 100 < 99 THEN 3 ELSE 1 END AS status FROM n;
    CREATE TEMP TABLE last AS SELECT max(id) AS id FROM journal;
    INSERT INTO journal (id, prev, at, events, head, body)
      SELECT last.id + i, NULL, first.created_at - i * 86, NULL,
        replace(journal.head, '/v1/text', '/v1/text/' || i), journal.body
      FROM many, first, last JOIN journal ON journal.id = first.request;
    INSERT INTO task (key, low, team, host, status, at, priority, flags, max_retries, max_wait, attempt, retries, created_at, started_at,
        key_number, head, request)
      SELECT key - i * (86 << 15), low, team, host, many.status,
        CASE WHEN many.status IN (1, 3) THEN first.created_at + 86400000 + i ELSE first.created_at - i * 86 + 4000 END,
        priority, flags, max_retries, max_wait, 1, 0, created_at - i * 86, created_at - i * 86 + 5, key_number, last.id + i, last.id + i
      FROM many, first, last;
    INSERT INTO timer (at, key) SELECT first.created_at + 86400000 + i, key - i * (86 << 15) FROM many, first WHERE many.status IN (1, 3);
    INSERT INTO counter (team, status, tasks) SELECT first.team, many.status, count(*) FROM many, first GROUP BY many.status
      ON CONFLICT (team, status) DO UPDATE SET tasks = tasks + excluded.tasks;
    PRAGMA wal_checkpoint(TRUNCATE);`;
  execFileSync("sqlite3", [file, sql.replace("WITH RECURSIVE n(i)", "WITH RECURSIVE n(i)")], { stdio: ["ignore", "ignore", "inherit"], maxBuffer: 1 << 26 });
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const faults = [];
const world = await World.start(binary);
const browser = await launch();
try {
  const state = await enter(world, browser, faults);
  await world.create("/v1/text");
  await world.restart(() => multiply(join(world.folder, "queue.db"), count));
  const page = await open(browser, world.base, faults, { state });
  for (const path of ["/", "/tasks", "/tasks?status=failed", "/tasks?status=waiting", "/tasks?status=cancelled", "/tasks?text=no-such-text", "/tasks?host=no.example", "/providers"]) {
    const paints = [];
    const answers = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      await page.goto(world.base + path, { waitUntil: "load" });
      await page.waitForTimeout(120);
      const [paint, answer] = await page.evaluate(() => [performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN,
        performance.getEntriesByType("navigation")[0].responseEnd - performance.getEntriesByType("navigation")[0].requestStart]);
      paints.push(paint);
      answers.push(answer);
    }
    console.log(`${path.padEnd(28)} first paint ${median(paints).toFixed(0).padStart(4)} ms, answered in ${median(answers).toFixed(1).padStart(6)} ms`);
  }
} finally {
  await browser.close();
  await world.stop();
}
