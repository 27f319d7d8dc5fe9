// Coming in: the first account, by the link that the first start printed.

import { open } from "./browser.mjs";

export const PERSON = { email: "ada@example.com", name: "Ada Lovelace", password: "seven quiet rivers under a lantern" };

/// Makes the first account in the browser; answers what a window needs to be signed in. `look` sees the page before.
export async function enter(world, browser, faults, look = async () => {}) {
  const page = await open(browser, world.base, faults);
  await page.goto(world.base + (await world.setupPath()));
  await look(page);
  for (const [field, value] of Object.entries(PERSON)) await page.fill(`[name="${field}"]`, value);
  await page.click('button[type="submit"]');
  await page.waitForURL(`${world.base}/`);
  const state = await page.context().storageState();
  await page.context().close();
  return state;
}
