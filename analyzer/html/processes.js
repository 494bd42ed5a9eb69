/* Where a report is of several processes: what each of them holds. */

function processRow(process) {
  const cell = (label, value) => make("td", { class: "number", "data-label": label }, value);
  return make("tr", {},
    make("th", { scope: "row" }, nameOf(baseName(process.exe || "unknown program")),
         make("span", { class: "note" }, ` pid ${process.pid} on `, nameOf(process.host || "unknown host"))),
    cell("live", bytes(process.live)), cell("resident", bytes(process.rss)), cell("watched", duration(process.duration)),
    make("td", { "data-label": "ended" }, ENDINGS[process.ending] || "running, or killed"),
    make("td", {}, process.worst ? nameOf(process.worst) : UNKNOWN, " ", process.verdict ? chip(process.verdict) : null));
}

function showProcesses() {
  if (!data.processes.length) return;
  const heads = ["Process", "Live", "Resident", "Watched", "End", "First to look at"];
  const head = make("tr", {}, ...heads.map((text, i) => make("th", { scope: "col", class: i > 0 && i < 4 ? "number" : null, text })));
  byId("processes-table").append(make("table", { class: "rows" }, make("thead", {}, head),
                                      make("tbody", {}, ...data.processes.map(processRow))));
  byId("processes").hidden = false;
}
