// Runs before the first paint, so that a page never flashes in the other theme.
(() => {
  const root = document.documentElement;
  try {
    const kept = localStorage.getItem("theme");
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  } catch { /* storage is blocked: the system's theme stays */ }
})();
