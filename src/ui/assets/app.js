// The dashboard works without this script; with it, pages stay fresh, text is copied with a click, and rows are picked in bulk.
"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Text to paste: a button that copies it.
function addCopyButtons(root) {
  for (const box of all(".paste:not(.ready)", root)) {
    box.classList.add("ready");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(box.querySelector("pre").textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(box.querySelector("pre"));
        button.textContent = "Press Ctrl+C";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
    box.append(button);
  }
}

// Rows that are picked: how many, and all of them at once.
function followPicks(root) {
  for (const form of all("form[data-picks]", root)) {
    const boxes = () => all('input[name="id"]', form);
    const whole = form.querySelector("[data-pick-all]");
    const say = () => {
      const picked = boxes().filter((box) => box.checked).length;
      for (const place of all("[data-picked]", form)) place.textContent = picked === 1 ? "1 task picked" : `${picked} tasks picked`;
      for (const button of all("[data-needs-picks]", form)) button.disabled = picked === 0;
      if (whole) {
        whole.checked = picked > 0 && picked === boxes().length;
        whole.indeterminate = picked > 0 && picked < boxes().length;
      }
    };
    form.addEventListener("change", (event) => {
      if (event.target === whole) for (const box of boxes()) box.checked = whole.checked;
      say();
    });
    if (whole) whole.closest("[hidden]")?.removeAttribute("hidden");
    say();
  }
}

// Selects that act at once; without the script their button does it.
function followSelects(root) {
  for (const select of all("select[data-submit]", root)) {
    select.addEventListener("change", () => select.form.requestSubmit());
    for (const button of all("[data-without-script]", select.form)) button.hidden = true;
  }
}

// Times are told in UTC; the reader's own is a hover away.
function addLocalTimes(root) {
  for (const time of all("time[datetime]:not([data-local])", root)) {
    time.dataset.local = "";
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.getTime())) time.title = `${time.title ? time.title + "\n" : ""}${moment.toLocaleString()} (your time)`;
  }
}

// Cards that open when asked close when one looks elsewhere.
document.addEventListener("click", (event) => {
  for (const card of all("details.account[open]")) if (!card.contains(event.target)) card.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const card of all("details.account[open]")) {
    card.open = false;
    card.querySelector("summary").focus();
  }
});

// Live pages: the server says that there is news, and the parts that are marked are fetched again.
const live = {
  source: null,
  paused: false,
  busy: false,
  sign: document.querySelector("[data-live-sign]"),

  address: () => document.querySelector("[data-live-url]")?.dataset.liveUrl,

  say(text, on) {
    if (!this.sign) return;
    this.sign.textContent = text;
    this.sign.classList.toggle("on", on);
  },

  start() {
    if (!this.address() || this.source || this.paused || document.hidden) return;
    this.source = new EventSource(this.address());
    this.source.addEventListener("open", () => this.say("Live", true));
    this.source.addEventListener("news", () => this.refresh());
    this.source.addEventListener("over", () => this.stop("Reload for news"));
    this.source.addEventListener("error", () => {
      if (this.source?.readyState === EventSource.CLOSED) this.stop("Not live; reload for news");
      else this.say("Reconnecting", false);
    });
  },

  stop(text) {
    this.source?.close();
    this.source = null;
    this.say(text, false);
  },

  // Nothing is swapped under a reader's hand: not while text is selected, a row is picked or something has the focus there.
  inUse(part) {
    const chosen = getSelection();
    return part.contains(document.activeElement) || part.querySelector("input:checked") !== null ||
      (chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode));
  },

  async refresh() {
    if (this.busy || document.hidden) return;
    this.busy = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-AsyncQueue-Part": "1" }, redirect: "error", credentials: "same-origin" });
      if (!answer.ok) return this.stop("Reload for news");
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of all("[data-live]")) this.swap(part, fresh.getElementById(part.id));
    } catch {
      this.say("Reconnecting", false);
    } finally {
      this.busy = false;
    }
  },

  swap(part, fresh) {
    if (!fresh || this.inUse(part) || part.innerHTML === fresh.innerHTML) return;
    const open = all("details[open][data-key]", part).map((one) => one.dataset.key);
    const shut = all("details:not([open])[data-key]", part).map((one) => one.dataset.key);
    part.replaceWith(document.adoptNode(fresh));
    for (const one of all("details[data-key]", fresh)) {
      if (open.includes(one.dataset.key)) one.open = true;
      if (shut.includes(one.dataset.key)) one.open = false;
    }
    ready(fresh);
  },
};

const pause = document.querySelector("[data-live-pause]");
if (pause && live.address()) {
  pause.hidden = false;
  pause.addEventListener("click", () => {
    live.paused = !live.paused;
    pause.textContent = live.paused ? "Resume" : "Pause";
    if (live.paused) live.stop("Paused");
    else {
      live.start();
      live.refresh();
    }
  });
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) live.stop("Paused");
  else if (!live.paused) {
    live.start();
    live.refresh();
  }
});
addEventListener("pagehide", () => live.stop("Paused"));

function ready(root) {
  addCopyButtons(root);
  followPicks(root);
  followSelects(root);
  addLocalTimes(root);
}

// On a phone the navigation is wider than the page.
const nav = document.querySelector(".nav");
const here = nav?.querySelector("[aria-current]");
if (here) nav.scrollLeft = here.offsetLeft + here.offsetWidth / 2 - nav.clientWidth / 2;

ready(document);
live.start();
