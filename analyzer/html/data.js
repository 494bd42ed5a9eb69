/*
 * The report's data, with their tables put together again.
 *
 *   functions   one place in the code: name, file, line, module
 *   nodes       the tree of stacks, from the outside in; a site names its innermost node
 *   sites       rows of the table, leaves of the flame graph
 *   controllers who owns sites
 */

const data = JSON.parse(byId("data").textContent);

const INLINED = 1, APPROXIMATE = 2, PLUMBING = 4;
const CUT = 1, FALLBACK = 2, REST = 4, TOP = 8, DEEP = 16;
const VERDICTS = ["leak", "inconclusive", "invalid", "bounded"];

const functions = data.functions.name.map((name, i) => {
  const text = (index) => (index === null ? null : data.strings[index]);
  const { file, line, module, offset, flags } = data.functions;
  const f = {
    name: text(name), file: text(file[i]), line: line[i], module: text(module[i]),
    inlined: (flags[i] & INLINED) !== 0, approximate: (flags[i] & APPROXIMATE) !== 0,
  };
  const address = "0x" + (typeof offset[i] === "string" ? offset[i] : offset[i].toString(16));
  f.where = f.module ? baseName(f.module) + "+" + address : address;
  f.place = f.file ? baseName(f.file) + (f.line ? ":" + f.line : "") : f.where;
  f.label = f.name || f.where;
  f.plumbing = (flags[i] & PLUMBING) !== 0;
  return f;
});

/* The functions of a stack, innermost first. */
function stackOf(node) {
  const stack = [];
  for (; node >= 0; node = data.nodes.parent[node]) stack.push(functions[data.nodes.function[node]]);
  return stack;
}

/* The innermost function that is to blame; the innermost of all where none is. */
function blamed(node) {
  const stack = stackOf(node);
  return stack.find((f) => !f.plumbing) || stack[0] || null;
}

const sites = data.sites.live.map((_, i) => {
  const site = { index: i, growth: data.sites.live[i] - data.sites.baseline[i],
                 growthBlocks: data.sites.blocks[i] - data.sites.baselineBlocks[i] };
  for (const key of Object.keys(data.sites)) site[key] = data.sites[key][i];
  site.verdict = site.verdict === null ? null : VERDICTS[site.verdict];
  site.blamed = blamed(site.node);
  return site;
});

data.alerts.sort((a, b) => a.time - b.time);

const controllers = data.controllers;
controllers.forEach((controller, i) => {
  controller.index = i;
  controller.sites = [];
});
sites.forEach((site) => {
  const controller = controllers[site.controller];
  controller.sites.push(site);
  if (site.flags & TOP) controller.top = site; /* where to look first */
});

/* What a site can be measured by. Growth may be negative; a graph shows what is above 0. */
const VIEWS = [
  { id: "live", name: "Live", unit: bytes, of: (site) => site.live, what: "live bytes" },
  { id: "blocks", name: "Blocks", unit: (n) => counted(n, "block"), of: (site) => site.blocks, what: "live blocks" },
  { id: "allocated", name: "Cumulative", unit: bytes, of: (site) => site.allocated, what: "bytes allocated since the start" },
  { id: "peak", name: "Peak", unit: bytes, of: (site) => site.peak, what: "live bytes at the peak" },
  { id: "growth", name: "Growth", unit: bytes, of: (site) => site.growth, what: "growth since the baseline" },
];

/* Colours: warm ones for suspects, cool ones for the others, grey for all further ones. */
const WARM = 3, COOL = 6;
(() => {
  const bySize = controllers.slice().sort((a, b) => b.peak - a.peak || a.index - b.index);
  let warm = 0, cool = 0;
  for (const controller of bySize)
    if (controller.suspect && warm < WARM) controller.colour = "warm" + warm++;
    else if (!controller.suspect && cool < COOL && controller.peak > 0) controller.colour = "cool" + cool++;
    else controller.colour = "grey";
})();

/* What the parts of the page share: a change of one is told to all. */
const state = { view: VIEWS[0], controller: null, query: "", plumbing: false };
const listeners = [];
function onChange(f) {
  listeners.push(f);
}
function change(changes) {
  Object.assign(state, changes);
  for (const f of listeners) f(changes);
}
