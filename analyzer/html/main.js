/* Puts the page together, and holds what concerns all of it: theme, width, time to the first look. */

const THEMES = ["auto", "light", "dark"];

/* A browser may forbid a file to remember things. */
function remember(value) {
  try {
    if (value !== undefined) localStorage.setItem("heaptally-theme", value);
    return localStorage.getItem("heaptally-theme");
  } catch {
    return null;
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = byId("theme");
  button.textContent = { auto: "◐ auto", light: "☀ light", dark: "☾ dark" }[theme];
  button.setAttribute("aria-label", `Theme: ${theme}. Switch.`);
}

function showTheme() {
  const before = remember();
  setTheme(THEMES.includes(before) ? before : "auto");
  byId("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    setTheme(next);
    remember(next);
  });
}

function followWidth() {
  let width = document.documentElement.clientWidth, waiting = null;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (document.documentElement.clientWidth === width) return;
      width = document.documentElement.clientWidth;
      drawChart();
      drawGraph();
    }, 100);
  });
}

showTheme();
showSubject();
showSummary();
showTimeline();
showControllers();
showProcesses();
showFlame();
showSites();
showPromises();
showTrust();
followWidth();
byId("footer").textContent = `heaptally ${data.version}. This page holds everything it shows and fetches nothing.`;
document.documentElement.dataset.ready = String(Math.round(performance.now()));
