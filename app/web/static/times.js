// Instants: <time data-ts=MS data-show=ago|until|for|clock|upto>. The server's clock counts, not this machine's.
const skew = Number(document.body.dataset.now) - Date.now();
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", year: "numeric" });
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

const dayAndTime = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false });

export function now() { return Date.now() + skew; }

/** A length of time in its two largest units: "2 d 3 h". */
export function span(ms) {
  let seconds = Math.floor(ms / 1000);
  const parts = [];
  for (const [size, unit] of UNITS) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || "0 s";
}

/** A time of the day, with the day when it is not near. */
export function time(ts) { return Math.abs(now() - ts) < 12 * 3600e3 ? clock.format(ts) : dayAndTime.format(ts); }

function brief(ms) {
  const [size, unit] = UNITS.find(([seconds]) => ms >= seconds * 1000) || UNITS[3];
  return `${Math.floor(ms / 1000 / size)} ${unit}`;
}

function words(ts, show) {
  const left = ts - now();
  if (show === "until") return left > 0 ? `in ${span(left)}` : "any moment";
  if (show === "for") return left > -1500 ? "just now" : `for ${brief(-left)}`;
  if (show === "clock") return clock.format(ts);
  if (show === "upto") return time(ts);
  if (left > 1000) return `in ${span(left)}`;
  if (left < -30 * 86400e3) return day.format(ts);
  return left > -1500 ? "now" : `${brief(-left)} ago`;
}

export function showTime(element) {
  const ts = Number(element.dataset.ts);
  const said = words(ts, element.dataset.show);
  if (element.textContent !== said) element.textContent = said;
  const iso = new Date(ts).toISOString();
  if (element.dateTime !== iso) {
    element.title = full.format(ts);
    element.dateTime = iso;
  }
}

export function showTimes(root = document) { root.querySelectorAll("time[data-ts]").forEach(showTime); }

export function startTimes() {
  showTimes();
  setInterval(() => { if (!document.hidden) showTimes(); }, 1000);
}
