// The service as an operator starts it, and the world around it: a target that answers as its path says, and a receiver of
// completion webhooks.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const KEY = "async_browser-tests-0123456789abcdefghijklm";
const PATIENCE = 60_000;

/// Waits until `ready` answers something.
export async function until(what, ready, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await ready();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

function listen(handler) {
  const server = http.createServer(handler);
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

async function freePort() {
  const server = await listen(() => {});
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/// What a target says, by its path: `/status/503`, `/accept`, `/slow`, `/echo`.
async function startTarget() {
  const server = await listen((request, answer) => {
    const path = new URL(request.url, "http://target").pathname;
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      const status = Number(path.match(/^\/status\/(\d+)/)?.[1] ?? 0);
      if (path.startsWith("/slow")) return setTimeout(() => answer.end("late"), 20_000);
      if (path.startsWith("/echo")) return answer.writeHead(200, { "content-type": "text/html" }).end(body);
      if (path.startsWith("/accept")) return answer.writeHead(202, { "content-type": "application/json" }).end('{"id":"job-7","status":"queued"}');
      if (status >= 400) return answer.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ error: { code: status, message: "prompt: field is required" } }));
      answer.writeHead(200, { "content-type": "application/json", "x-request-id": "req_81f2" });
      answer.end(JSON.stringify({ id: "img_1", images: [{ url: "https://cdn.example.com/cat.png", width: 1024, height: 768 }], seed: 196619188014358660, nsfw: false, timings: { inference: 1.93 } }));
    });
  });
  return server;
}

export class World {
  /// Starts everything; `binary` is the service's program.
  static async start(binary) {
    const world = new World();
    world.folder = await mkdtemp(join(tmpdir(), "asyncqueue-browser-"));
    world.target = await startTarget();
    world.targetUrl = `http://127.0.0.1:${world.target.address().port}`;
    const port = await freePort();
    world.base = `http://127.0.0.1:${port}`;
    world.binary = binary;
    world.flags = ["serve", "--listen", `127.0.0.1:${port}`, "--database", `sqlite:${join(world.folder, "queue.db")}`,
      "--allow-target", "127.0.0.0/8", "--callback-rate-limit", "0", "--max-in-flight-per-host", "256", "--log", "text"];
    world.output = "";
    await world.serve();
    return world;
  }

  async serve() {
    const env = { ...process.env, ASYNCQUEUE_BOOTSTRAP_KEY: KEY };
    this.service = spawn(this.binary, this.flags, { env, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.service.stdout, this.service.stderr]) stream.on("data", (text) => { this.output += text; });
    await until("the service is ready", () => fetch(`${this.base}/readyz`).then((answer) => answer.ok, () => false));
  }

  async end() {
    const over = new Promise((done) => this.service.once("exit", done));
    this.service.kill("SIGTERM");
    await over;
  }

  /// Stops the service, does something to what it left, and starts it again.
  async restart(between) {
    await this.end();
    between();
    await this.serve();
  }

  /// Until every task that was created waits.
  async allWait() {
    const total = async (status) => (await this.api("GET", `/v1/tasks?status=${status}&limit=1`)).pagination.total;
    await until("all tasks wait", async () => (await total("pending")) + (await total("processing")) === 0);
  }

  async stop() {
    await this.end();
    this.target.closeAllConnections();
    this.target.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  /// The path of the one-time link that the first start printed.
  async setupPath() {
    return until("the setup link is printed", () => this.output.match(/\/setup\/[\w-]+/)?.[0]);
  }

  async api(method, path, body, headers = {}) {
    const answer = await fetch(this.base + path, {
      method,
      headers: { authorization: `Bearer ${KEY}`, ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text);
  }

  async create(path, more = {}) {
    return this.api("POST", "/v1/tasks", { targetUrl: this.targetUrl + path, maxRetries: 0, ...more });
  }

  async reached(id, ...statuses) {
    return until(`task ${id} is ${statuses}`, async () => {
      const { task } = await this.api("GET", `/v1/tasks/${id}`);
      return statuses.includes(task.status) && task;
    });
  }

  /// Tasks in every state that a page has words for. Answers their ids by name.
  async seed() {
    const prompt = { body: JSON.stringify({ prompt: "a lighthouse in the rain, oil on canvas", size: "1024x768", steps: 28 }) };
    const hook = { onCompleteUrl: `${this.targetUrl}/hook` };
    const made = {
      completed: await this.create("/v1/images?webhook={asyncqueue_callback_url}", { ...prompt, ...hook, metadata: { order: "A-1041" } }),
      answered: await this.create("/v1/text", prompt),
      refused: await this.create("/status/422/v1/images", { ...prompt, waitForSignal: true, headers: { authorization: "Key sk-very-secret" } }),
      failed: await this.create("/status/503/v1/videos", { ...prompt, maxRetries: 2, retryBackoff: "linear", ...hook, onCompleteUrl: `${this.targetUrl}/status/500/hook`, onCompleteMaxRetries: 1 }),
      waiting: await this.create("/accept/v1/videos?webhook={asyncqueue_callback_url}", { ...prompt, maxWaitTime: 3600 }),
      timeout: await this.create("/accept/v1/music", { ...prompt, waitForSignal: true, maxWaitTime: 1 }),
      polling: await this.create("/accept/v1/speech", { pollConfig: { urlTemplate: `${this.targetUrl}/status/200/jobs/{startResult.body.id}`, statusPath: "status", doneValues: ["done"], failValues: ["failed"], interval: 2 } }),
      delayed: await this.create("/v1/later", { delayUntil: new Date(Date.now() + 3_600_000).toISOString() }),
      cancelled: await this.create("/v1/never", { delayUntil: new Date(Date.now() + 3_600_000).toISOString() }),
    };
    const ids = Object.fromEntries(Object.entries(made).map(([name, { task }]) => [name, task.id]));
    await this.api("POST", `/v1/tasks/${ids.cancelled}/cancel`);
    await this.reached(ids.completed, "waiting");
    const result = { status: "succeeded", output: ["https://cdn.example.com/lighthouse.png"], metrics: { predict_time: 3.4 }, logs: "step 1/28\nstep 28/28" };
    await fetch(made.completed.callbackUrl, { method: "POST", body: JSON.stringify(result) });
    await this.reached(ids.failed, "failed");
    await this.reached(ids.refused, "failed");
    await this.reached(ids.timeout, "timeout");
    await this.reached(ids.waiting, "waiting");
    await this.reached(ids.polling, "polling");
    await this.api("POST", "/v1/tokens", { name: "fal key", value: "Key abc" });
    const { token } = await this.api("POST", "/v1/tokens", { name: "openai webhook secret", value: `whsec_${Buffer.alloc(32, 7).toString("base64")}` });
    await this.api("POST", "/v1/endpoints", { provider: "openai", secret: token.id });
    return ids;
  }
}
