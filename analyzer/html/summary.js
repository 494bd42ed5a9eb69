/* The first screen: is there a leak, whose is it, where, how fast, when does it hurt, what next. */

const worst = data.worst === null ? null : controllers[data.worst];
const noFigures = !data.quality.hasTick;

/* Where a controller's memory comes from: the largest live site that has a place in the code. */
function topSite(controller) {
  const live = controller.sites.filter((site) => site.live > 0 && site.blamed);
  return live.sort((a, b) => b.live - a.live)[0] || null;
}

function rateOf(verdict) {
  if (!known(verdict.rate)) return null;
  const interval = known(verdict.low) ? ` [${megabytes(verdict.low)}, ${megabytes(verdict.high)}]` : "";
  return megabytes(verdict.rate) + " MB per hour" + interval;
}

/* What stands in the largest letters, and how alarming it is. */
function headline() {
  if (noFigures) return ["unknown", "No figures: the file ends before its first tick"];
  if (!worst) return ["unknown", "No allocation was seen"];
  const suspects = controllers.filter((c) => c.suspect);
  const more = suspects.length > 1 ? `, and ${suspects.length - 1} more` : "";
  if (worst.verdict.kind === "leak") return ["leak", [worst.name, " is leaking", more]];
  if (worst.suspect) return ["leak", [worst.name, " grows with every instance", more]];
  if (worst.verdict.kind === "invalid") return ["unknown", `No verdict: ${worst.verdict.reason}`];
  if (controllers.every((c) => c.verdict.kind === "bounded" || c.peak === 0)) return ["fine", "No leak found"];
  return ["unsure", "No leak proven"];
}

function fact(label, value, ...notes) {
  return make("div", { class: "fact" }, make("dt", { text: label }),
              make("dd", {}, typeof value === "string" ? make("span", { class: "value", text: value }) : value,
                   ...notes.filter(Boolean).map((note) => make("span", { class: "note", text: note }))));
}

function whoFact() {
  const others = controllers.filter((c) => c.suspect && c !== worst).map((c) => c.name);
  const button = make("button", { type: "button", class: "link value", title: "Show this controller only",
                                  on: { click: () => change({ controller: worst }) } }, nameOf(worst.name));
  const share = data.memory.live ? `, ${percent(worst.live, data.memory.live)} of the live heap` : "";
  return fact("Who", button, `${bytes(worst.live)} live in ${counted(worst.blocks, "block")}${share}`,
              others.length ? "also: " + others.slice(0, 3).join(", ") + (others.length > 3 ? " …" : "") : null);
}

function whereFact() {
  const site = topSite(worst);
  if (!site) return fact("Where", worst.live > 0 ? "not known" : "nothing is live");
  const value = make("button", { type: "button", class: "link value", title: "Show its call sites",
                                 on: { click: () => showSite(site) } }, nameOf(site.blamed.label, "name code"));
  return fact("Where", value, placeBeside(site.blamed), `${percent(site.live, worst.live)} of what it holds`);
}

function howFastFact() {
  const perHour = rateOf(worst.verdict);
  const per1000 = known(worst.per1000) ? `${megabytes(worst.per1000)} MB per 1000 instances` : null;
  const times = known(worst.timesLimit) && worst.timesLimit > 1
    ? `${digits(worst.timesLimit)} times the limit of ${megabytes(data.limit)} MB` : null;
  const each = known(worst.each) ? `${grouped(worst.each)} bytes each, ${grouped(worst.made)} made` : null;
  const main = perHour || per1000 || "not known yet";
  return fact("How fast", main, main === per1000 ? null : per1000, times, each);
}

function whenFact() {
  const seconds = worst.verdict.secondsToLimit;
  if (known(seconds))
    return fact("When does it hurt", "in " + duration(seconds), worst.verdict.limit ? "limit: " + worst.verdict.limit : null);
  if (worst.verdict.kind === "bounded") return fact("When does it hurt", "not in sight", "it does not keep growing");
  return fact("When does it hurt", "not known", "no growth rate that is certain, or no limit");
}

/* One thing to do, and why. */
function advice() {
  const site = topSite(worst);
  const place = site ? site.blamed.label : null;
  if (worst.suspect && place)
    return ["See who should free it", `${counted(site.blocks, "block")} of ${place} ${site.blocks === 1 ? "is" : "are"} still live. After the fix, run again and compare.`];
  if (worst.suspect) return ["Let it run with call stacks", "The call site is not known: use --stacks full."];
  if (worst.verdict.kind === "bounded") return ["Nothing", "Memory is held, and does not keep growing."];
  if (worst.verdict.needs) return ["Let it run longer", worst.verdict.needs];
  return ["Let it run longer", "Then report again, or compare two snapshots."];
}

function facts() {
  if (noFigures || !worst) return null;
  const [what, why] = advice();
  return make("dl", { class: "facts" }, whoFact(), whereFact(), howFastFact(), whenFact(), fact("What next", what, why));
}

function figure(label, value, note) {
  return make("div", { class: "figure" }, make("dt", { text: label }),
              make("dd", {}, make("span", { class: "value", text: value }), note ? make("span", { class: "note", text: note }) : null));
}

const ENDINGS = {
  exit: "ended in good order", exec: "replaced by another program", stopped: "counting was stopped",
  dormant: "heaptally stepped aside", ended: "ended",
};

function figures() {
  const { rss, rssBaseline, live, blocks, own } = data.memory;
  const growth = known(rss) && known(rssBaseline) ? rss - rssBaseline : null;
  /* Heaptally's own memory is what it mapped; not all of it needs to be resident. */
  const other = known(rss) && known(live) ? Math.max(0, rss - live - own) : null;
  const alerts = data.alerts.filter((alert) => alert.state !== "clear").length;
  return make("dl", { class: "figures" },
    figure("Live heap", bytes(live), known(blocks) ? counted(blocks, "block") : null),
    figure("Resident", bytes(rss), known(growth) ? signed(bytes(growth), growth) + " since the start" : null),
    figure("Not heap", bytes(other), "code, stacks, fragments, caches"),
    figure("Alerts", grouped(alerts + data.alertsLeftOut), alerts ? "marked below" : "none"),
    figure("Watched", duration(data.process.duration), ENDINGS[data.process.ending] || "running, or killed"));
}

function showSubject() {
  const { exe, host, pid, start } = data.process;
  byId("subject").append(nameOf(baseName(exe || "unknown program"), "exe"),
                         make("span", { class: "where", text: `pid ${pid}` }), nameOf(host || "unknown host", "where"),
                         make("span", { class: "where", text: clock(start, 0) }));
  document.title = `${baseName(exe || "heaptally")} – heaptally`;
}

function showSummary() {
  const [kind, sentence] = headline();
  const title = make("h1", {});
  if (typeof sentence === "string") title.textContent = sentence;
  else title.append(nameOf(sentence[0]), sentence[1], sentence[2]);
  const verdict = worst && !noFigures ? worst.verdict : data.verdict;
  const reason = worst && worst.suspect && verdict.kind !== "leak"
    ? `${megabytes(worst.per1000)} MB per 1000 instances, above the limit of ${megabytes(data.limit)} MB. Over time: ${verdict.reason}.`
    : verdict.reason;
  byId("summary").append(
    make("div", { class: "hero " + kind }, title, make("p", { class: "reason", text: reason }), facts()), figures());
}
