/* The first screen: is there a leak, whose is it, where, how fast, when does it hurt, what next. */

const worst = data.worst === null ? null : controllers[data.worst];
const noFigures = !data.quality.hasTick;

const rateOf = (verdict) => (known(verdict.rate) ? megabytes(verdict.rate) + " MB per hour" : null);

const intervalOf = (verdict) =>
  known(verdict.rate) && known(verdict.low) ? `between ${megabytes(verdict.low)} and ${megabytes(verdict.high)} (95 %)` : null;

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
  const site = worst.top;
  if (!site || !site.blamed) return fact("Where", worst.live > 0 ? "not known" : "nothing is live");
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
  return fact("How fast", main, intervalOf(worst.verdict), main === per1000 ? null : per1000, times, each);
}

function whenFact() {
  const seconds = worst.verdict.secondsToLimit;
  if (known(seconds))
    return fact("When does it hurt", "in " + duration(seconds), worst.verdict.limit ? `then ${worst.verdict.limit} is reached` : null);
  if (worst.verdict.kind === "bounded") return fact("When does it hurt", "not in sight", "it does not keep growing");
  return fact("When does it hurt", "not known", worst.verdict.kind === "leak" ? "no limit is known that it would reach" : "no growth over time is certain yet");
}

/* What a verdict is still in need of, in words; null where it is not. */
function needsOf(verdict) {
  if (!(verdict.needsSeconds > 0)) return null;
  const instances = verdict.needsInstances >= 1 ? `, or ${counted(verdict.needsInstances, "more instance")}` : "";
  return data.process.ending ? `For a verdict: ${duration(verdict.needsSeconds)} more than this time${instances}.`
                             : `For a verdict: report again in ${duration(verdict.needsSeconds)}${instances}.`;
}

/* All that is live belongs to one library or program: rules would tell apart what is in it. */
function wantsRules() {
  return worst.byDefault && worst.live > 0.9 * data.memory.live && worst.sites.length > 1;
}

/* One thing to do, and why. */
function advice() {
  const site = worst.top && worst.top.blamed ? worst.top : null;
  const place = site ? site.blamed.label : null;
  const needs = needsOf(worst.verdict);
  if (worst.suspect && place)
    return ["See who should free it", `${counted(site.blocks, "block")} of ${place} ${site.blocks === 1 ? "is" : "are"} still live. After the fix, run again and compare.`];
  if (worst.suspect) return ["Let it run with call stacks", "The call site is not known: use --stacks full."];
  if (worst.verdict.kind === "bounded") return ["Nothing", "Memory is held, and does not keep growing."];
  if (needs) return ["Let it run longer", needs];
  if (wantsRules()) return ["Tell controllers apart", `"heaptally tags" proposes rules for what is in ${worst.name}.`];
  return ["Let it run longer", "Then report again, or compare: heaptally diff OLD NEW."];
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
  /* Heaptally's own memory is what it mapped; not all of it is resident, so the rest may hide. */
  const rest = known(rss) && known(live) ? rss - live - own : null;
  const other = rest > 0 ? rest : null;
  const alerts = data.alerts.filter((alert) => alert.state !== "clear").length;
  return make("dl", { class: "figures" },
    figure("Live heap", bytes(live), known(blocks) ? counted(blocks, "block") : null),
    figure("Resident", bytes(rss), known(growth) ? signed(bytes(growth), growth) + " since the start" : null),
    figure("Not heap", bytes(other),
      known(rest) && rest <= 0 ? "too little to be told from heaptally's own"
                               : "code, stacks, fragments, caches"),
    figure("Alerts", grouped(alerts + data.alertsLeftOut), alerts ? "marked below" : "none"),
    figure("Watched", duration(data.process.duration), ENDINGS[data.process.ending] || "running, or killed"));
}

function showSubject() {
  const { exe, host, pid, start } = data.process;
  const several = data.processes.length;
  byId("subject").append(nameOf(baseName(exe || "unknown program"), "exe"),
                         make("span", { class: "where", text: several ? counted(several, "process") : `pid ${pid}` }),
                         nameOf(host || "unknown host", "where"),
                         make("span", { class: "where", text: clock(start, 0) }));
  document.title = `${baseName(exe || "heaptally")} – heaptally`;
}

function showSummary() {
  const [kind, sentence] = headline();
  const title = make("h1", {});
  if (typeof sentence === "string") title.textContent = sentence;
  else title.append(nameOf(sentence[0]), sentence[1], sentence[2]);
  const reason = worst && worst.suspect && worst.verdict.kind !== "leak"
    ? `${megabytes(worst.per1000)} MB per 1000 instances, above the limit of ${megabytes(data.limit)} MB. Over time: ${worst.verdict.reason}.`
    : worst && worst.verdict.reason;
  byId("summary").append(
    make("div", { class: "hero " + kind }, title, worst && !noFigures ? make("p", { class: "reason", text: reason }) : null, facts()), figures(),
    data.memory.diagnosis ? make("p", { class: "diagnosis" }, make("strong", { text: "Resident against heap: " }), make("bdi", { text: data.memory.diagnosis })) : "");
}
