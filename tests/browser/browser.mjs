// The browser: a headless Chromium that talks to nobody but the service, watched for everything that must not happen.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve(process.env.AQ_BROWSER_MODULES ?? "target/browser", "package.json"));
const { chromium } = require("playwright-core");
const AXE = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

export const LOOKS = [1440, 390].flatMap((width) => ["light", "dark"].map((scheme) => ({ width, scheme })));

export async function launch() {
  return chromium.launch({ executablePath: process.env.AQ_CHROMIUM ?? "/usr/bin/chromium", headless: true, args: FLAGS });
}

/// A window; `faults` gathers dialogs, breaches of the policy, errors, and requests to anybody else.
export async function open(browser, base, faults, { width = 1440, scheme = "light", state, script = true } = {}) {
  const height = width < 600 ? 844 : 900;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, storageState: state, javaScriptEnabled: script, deviceScaleFactor: 1 });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: base });
  const page = await context.newPage();
  const fault = (kind, text) => faults.push(`${kind} at ${page.url()}: ${text}`);
  page.on("dialog", (dialog) => { fault("dialog", dialog.message()); dialog.dismiss(); });
  page.on("pageerror", (error) => fault("script error", error.message));
  page.on("console", (message) => {
    const expected = /Failed to load resource: the server responded with a status of 4\d\d/;
    if (message.type() === "error" && !expected.test(message.text())) fault("console", message.text());
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(base) && !/^(data|blob|about):/.test(url)) fault("request elsewhere", url);
  });
  return page;
}

/// What is wrong with a page for people: too wide for its window, or serious in the eyes of axe.
export async function judge(page) {
  const wrong = [];
  const [inside, window] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  if (inside > window) wrong.push(`it is ${inside} wide in a window of ${window}`);
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, impact, help, nodes } of found.violations) {
    if (["serious", "critical"].includes(impact)) wrong.push(`${impact}: ${id}, ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
  }
  return wrong;
}
