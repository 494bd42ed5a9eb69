/* What could not be seen, in sentences, each with how much it matters; then the settings. */

function qualityLines() {
  const q = data.quality, lines = [];
  const say = (level, label, text) => lines.push({ level, label, text });
  if (q.torn) say("bad", "File", `torn: ${q.torn}; the last ${bytes(q.unread)} of ${bytes(q.fileSize)} are not read`);
  else say("good", "File", `read to its end, ${bytes(q.fileSize)}`);
  if (!data.process.ending) say("note", "End", "killed, or still running: controllers are as of the last tick, call sites as last listed");
  if (!q.hasTick) return lines;
  if (!q.sitesAreExact && q.leftOut > 0) say("note", "Call sites", `${bytes(q.leftOut)} were allocated or freed at call sites ${q.listingIsCut ? "for which the file has no room: see --max-file" : "since they were last listed"}`);
  if (q.strange) say("bad", "Damage", `${counted(q.strange, "contradiction")} with the rest of the file; what contradicts is left out`);
  if (q.newer) say("note", "Newer", `${counted(q.newer, "record")} of a newer format left out`);
  const share = data.memory.allocated ? q.fallback / data.memory.allocated : 0;
  say(share > 0.05 ? "note" : "good", "Fallback", `${bytes(q.fallback)} (${percent(q.fallback, data.memory.allocated)} of all allocated, ${bytes(q.fallbackLive)} live) known by return address or controller only`);
  say(q.foreign ? "note" : "good", "Foreign", `${counted(q.foreign, "free")} of blocks never seen${q.foreign ? ", " + bytes(q.foreignBytes) : ""}${q.foreign && q.stopped ? "; of those allocated while counting was stopped, too" : ""}`);
  say(q.overruns ? "bad" : "good", "Overruns", `${counted(q.overruns, "block")} with an overwritten end`);
  say(q.dropped || q.truncated ? "note" : "good", "Dropped", `${counted(q.dropped, "tick")} not taken or not written, detail lost in ${counted(q.truncated, "full table")}`);
  const allocator = ["unknown whether the program has one linked in", "none linked into the program", "linked into the program: what it gives out is not seen"];
  say(["note", "good", "bad"][q.staticAllocator + 1], "Allocator", allocator[q.staticAllocator + 1]);
  say("good", "Own memory", `${bytes(data.memory.own)} of heaptally's own, in no figure above`);
  return lines;
}

function showTrust() {
  const marks = { good: "✓", note: "!", bad: "✗" }, words = { good: "fine", note: "mind this", bad: "a problem" };
  byId("quality").append(make("ul", { class: "quality" }, ...qualityLines().map((line) =>
    make("li", { class: line.level }, make("span", { class: "mark", text: marks[line.level], role: "img", "aria-label": words[line.level] }),
         make("span", { class: "label", text: line.label }), make("bdi", { text: line.text })))));
  if (data.quality.modules.length) {
    const list = make("dl", { class: "pairs" });
    for (const [module, why] of data.quality.modules)
      list.append(make("dt", {}, nameOf(baseName(module), "code")), make("dd", {}, make("bdi", { text: why })));
    byId("quality").append(make("details", {}, make("summary", { text: `${counted(data.quality.modules.length, "module")} without symbols` }), list));
  }
  const list = make("dl", { class: "pairs" });
  for (const [key, value] of [["program", data.process.exe], ["snapshot", data.process.file], ["ticks", grouped(data.process.ticks)], ...data.settings])
    list.append(make("dt", {}, nameOf(key, "code")), make("dd", {}, make("bdi", { text: value || UNKNOWN })));
  byId("settings").append(list);
}
