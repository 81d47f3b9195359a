// The live feed: server-sent changes become list items. Text is only ever set as text, never as HTML.
import { streaming } from "./status.js";
import { showTime } from "./times.js";

const SHOWN_MAX = 60;
const PER_SECOND = 15;
const AGAIN_MS = 2000;
const BADGES = { entered: "in", exited: "out", moved: "move" };

const list = document.getElementById("feed");
const more = document.getElementById("feed-more");
let waiting = [];
let paused = false;
let skipped = 0;
let hole = false;
let last = "";
let source = null;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function link(folder, text, className) {
  const element = make("a", className, text);
  element.href = `/${folder}/${encodeURIComponent(text)}`;
  return element;
}

function subject(change) {
  const said = make("span");
  if (change.change === "moved") {
    said.append(`${change.group}: `, change.from ? link("segments", change.from) : "none", " → ", change.to ? link("segments", change.to) : "none");
    return said;
  }
  const member = link("segments", change.segment);
  member.textContent = change.words.headline.replace(/^\S+ /, "");
  said.append(change.change === "entered" ? "entered " : "left ", member);
  return said;
}

function item(change) {
  const line = make("li", "change new");
  line.dataset.id = change.change_id;
  const body = make("div");
  const what = make("p", "what");
  what.append(link("users", change.user_id, "user"), " ", subject(change), " ", make("span", "dim", change.words.cause));
  body.append(what, ...change.words.reasons.slice(0, 4).map((reason) => make("p", "why", reason)));
  const when = make("time");
  when.dataset.ts = change.emitted_at || change.at;
  when.dataset.show = "ago";
  showTime(when);
  line.append(make("span", `badge ${change.change}`, BADGES[change.change] || change.change), body, when);
  return line;
}

function flush() {
  if (paused || !waiting.length) { note(); return; }
  const fresh = waiting.splice(0).filter((change) => !list.querySelector(`[data-id="${CSS.escape(change.change_id)}"]`));
  list.prepend(...fresh.reverse().map(item));
  while (list.children.length > SHOWN_MAX) list.lastElementChild.remove();
  document.getElementById("feed-empty").hidden = list.children.length > 0;
  note();
}

function note() {
  const parts = [];
  if (paused && waiting.length) parts.push(`${waiting.length}${waiting.length >= SHOWN_MAX ? " or more" : ""} new while paused`);
  if (skipped) parts.push(`${skipped.toLocaleString()} more were not shown: at most ${PER_SECOND} a second are`);
  if (hole) parts.push("some in between are no longer kept and not in this list");
  more.textContent = parts.join(" · ");
  more.hidden = !parts.length;
}

function address() {
  const query = new URLSearchParams({ words: "1", per_second: PER_SECOND });
  if (last) query.set("after", last);
  if (list?.dataset.segment) query.set("segment", list.dataset.segment);
  if (list?.dataset.user) query.set("user", list.dataset.user);
  return `/api/changes?${query}`;
}

function connect(heard) {
  source = new EventSource(address());
  source.addEventListener("open", () => streaming(true));
  source.addEventListener("change", (event) => {
    last = event.lastEventId;
    const change = JSON.parse(event.data);
    waiting.push(change);
    if (waiting.length > SHOWN_MAX) waiting.shift();
    heard(Boolean(list.dataset.user || list.dataset.segment));
  });
  source.addEventListener("skipped", (event) => { last = event.lastEventId; skipped += JSON.parse(event.data).count; });
  source.addEventListener("gap", (event) => { last = event.lastEventId || last; hole = true; });
  source.addEventListener("error", () => {
    streaming(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => connect(heard), AGAIN_MS);
  });
}

/** Show changes as they come; `heard(own)` is called for each, `own` when it belongs to what the page is about. */
export function startFeed(heard) {
  if (!list) return;
  streaming(false);
  last = list.dataset.after;
  const pause = document.getElementById("pause");
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Continue" : "Pause";
    flush();
  });
  setInterval(flush, 200);
  addEventListener("pagehide", () => source.close());
  connect(heard);
}
