/* The table of call sites: search, sort, and each one's whole stack on demand. */

const SITES_SHOWN = 25;
const table = { sort: "view", falling: true, shown: SITES_SHOWN, open: new Set() };

/* What the search looks at, in small letters, made once for each function. */
function textOf(f) {
  if (f.text === undefined) f.text = [f.name, f.file, f.module].filter(Boolean).join("\n").toLowerCase();
  return f.text;
}

function searchText(site) {
  if (site.text === undefined)
    site.text = controllers[site.controller].name.toLowerCase() + "\n" + stackOf(site.node).map(textOf).join("\n");
  return site.text;
}

const siteName = (site) => (site.blamed ? site.blamed.label : site.flags & REST ? "smaller call sites" : "not known");

const COLUMNS = [
  { id: "place", name: "Call site", of: siteName, text: true },
  { id: "controller", name: "Controller", of: (site) => controllers[site.controller].name, text: true },
  { id: "view", name: () => state.view.name, of: (site) => state.view.of(site) },
  { id: "blocks", name: "Blocks", of: (site) => site.blocks },
  { id: "allocated", name: "Allocated", of: (site) => site.allocated },
  { id: "growth", name: "Growth", of: (site) => site.growth },
  { id: "rate", name: "MB / hour", of: (site) => (known(site.rate) ? site.rate : -Infinity) },
];

/* All words of the search must be somewhere in the stack or the controller's name. */
function foundSites() {
  const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  const own = state.controller ? state.controller.sites : sites;
  return own.filter((site) => words.every((word) => searchText(site).includes(word)));
}

function sortSites(list) {
  const column = COLUMNS.find((c) => c.id === table.sort), sign = table.falling ? -1 : 1;
  return list.map((site) => [column.of(site), site]).sort(([a, x], [b, y]) => {
    const order = column.text ? a.localeCompare(b, "en") : a === b ? 0 : a < b ? -1 : 1;
    return sign * order || y.live - x.live || x.index - y.index;
  }).map(([, site]) => site);
}

function frameLine(f) {
  return make("li", { class: f.plumbing ? "plumbing" : null },
              nameOf(f.label, "name code"), f.approximate ? make("span", { class: "note", text: "nearest symbol" }) : null,
              make("span", { class: "place", text: [placeBeside(f), f.inlined ? "inlined" : null].filter(Boolean).join(", "), title: f.file || f.module }),
              f.file && f.module ? make("span", { class: "place module", text: baseName(f.module) }) : null);
}

function stackRow(site) {
  const stack = stackOf(site.node);
  const list = make("ol", { class: "stack" }, ...stack.map(frameLine));
  const end = site.flags & REST ? `${counted(site.sites, "call site")} that hold little, added up.`
    : !stack.length ? "Known by its controller only."
    : site.flags & FALLBACK ? "The callers are not known: this early, or this deep, only the return address was."
    : site.flags & DEEP ? "Cut here: the outer frames of deep stacks are not kept."
    : site.flags & CUT ? "Cut here: no unwind information further out." : null;
  const figures = `${grouped(site.live)} bytes in ${counted(site.blocks, "block")} live; ${grouped(site.allocated)} bytes in ${counted(site.allocatedBlocks, "block")} allocated; ${bytes(site.peak)} at the peak`;
  return make("tr", { class: "detail" }, make("td", { colspan: String(COLUMNS.length) },
    make("p", { class: "note", text: figures }), list, end ? make("p", { class: "note", text: end }) : null));
}

function siteRow(site, largest) {
  const open = table.open.has(site.index), controller = controllers[site.controller], value = state.view.of(site);
  const toggle = make("button", { type: "button", class: "link site", "aria-expanded": String(open), "data-site": String(site.index),
                                  on: { click: () => toggleSite(site) } }, nameOf(siteName(site), "name code"));
  const row = make("tr", { class: controller.colour },
    make("th", { scope: "row" }, toggle, site.blamed && placeBeside(site.blamed) ? make("span", { class: "place", text: site.blamed.place }) : null),
    make("td", { class: "owner", "data-label": "controller" }, make("span", { class: "key " + controller.colour }, make("span", { class: "swatch" }), nameOf(controller.name))),
    make("td", { class: "number bar", "data-label": state.view.name.toLowerCase() }, state.view.unit(value)),
    make("td", { class: "number", "data-label": "blocks", text: grouped(site.blocks) }),
    make("td", { class: "number", "data-label": "allocated", text: bytes(site.allocated) }),
    make("td", { class: "number", "data-label": "growth", text: site.growth ? signed(bytes(site.growth), site.growth) : "0" }),
    make("td", { class: known(site.rate) ? "number" : "number none", "data-label": "MB per hour" },
         make("span", {}, site.verdict === "leak" ? chip("leak") : null, " ", known(site.rate) ? megabytes(site.rate) : UNKNOWN)));
  row.querySelector(".bar").style.setProperty("--share", Math.max(0, largest ? value / largest : 0).toFixed(4));
  return open ? [row, stackRow(site)] : [row];
}

function headCell(column) {
  const on = table.sort === column.id;
  const name = typeof column.name === "function" ? column.name() : column.name;
  return make("th", { scope: "col", class: column.text ? null : "number", "aria-sort": on ? (table.falling ? "descending" : "ascending") : null },
    make("button", { type: "button", class: "sort", "data-sort": column.id, text: name, on: { click: () => {
      table.falling = on ? !table.falling : !column.text;
      table.sort = column.id;
      drawSites();
      byId("sites-table").querySelector(`[data-sort=${column.id}]`).focus();
    } } }));
}

function drawSites() {
  const box = byId("sites-table"), found = sortSites(foundSites());
  const sum = d3.sum(found, (site) => Math.max(0, state.view.of(site)));
  const largest = d3.max(found, state.view.of) || 0;
  box.textContent = "";
  byId("sites-count").textContent = `${counted(d3.sum(found, (site) => site.sites), "call site")}${state.controller ? " of " + state.controller.name : ""}, ${state.view.unit(sum)}`
    + (state.query ? ` match “${state.query}”` : "");
  if (!found.length) {
    box.append(make("p", { class: "empty", text: "None." }));
    return;
  }
  box.append(make("table", { class: "rows" }, make("thead", {}, make("tr", {}, ...COLUMNS.map(headCell))),
                  make("tbody", {}, ...found.slice(0, table.shown).flatMap((site) => siteRow(site, largest)))));
  if (found.length > table.shown) {
    const next = Math.min(200, found.length - table.shown);
    box.append(make("button", { type: "button", class: "more", text: `Show ${next} of ${grouped(found.length - table.shown)} more`,
                                on: { click: () => { table.shown += next; drawSites(); } } }));
  }
}

function toggleSite(site) {
  table.open[table.open.has(site.index) ? "delete" : "add"](site.index);
  drawSites();
  byId("sites-table").querySelector(`[data-site="${site.index}"]`).focus();
}

/* From elsewhere on the page: this site, with its stack open. */
function showSite(site) {
  byId("search").value = "";
  table.open.add(site.index);
  table.sort = "view";
  table.falling = true;
  change({ controller: controllers[site.controller], query: "" });
  const button = byId("sites-table").querySelector(`[data-site="${site.index}"]`);
  byId("sites").scrollIntoView();
  if (button) button.focus({ preventScroll: true });
}

function showSites() {
  let waiting = null;
  byId("search").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => change({ query: event.target.value.trim() }), 120);
  });
  drawSites();
  onChange((changes) => {
    if ("query" in changes || "controller" in changes) table.shown = SITES_SHOWN;
    if (!("plumbing" in changes)) drawSites();
  });
}
