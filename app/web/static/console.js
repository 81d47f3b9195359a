// The console's script: keeps the server-rendered pages fresh. Every page is readable without it.
import { startChart } from "./chart.js";
import { startFeed } from "./feed.js";
import { refresh, startRefresh } from "./refresh.js";
import { startStatus } from "./status.js";
import { startTimes } from "./times.js";

function startTheme() {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept, then */ }
    document.dispatchEvent(new Event("themechange"));
  });
}

function startKeys() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      document.getElementById("search").focus();
    } else if (event.key === "Escape" && typing) {
      event.target.blur();
    }
  });
}

startRefresh();
startTimes();
startTheme();
startKeys();
startChart();
startStatus();
startFeed((own) => { if (own) refresh(); });
