/*
 * The flame graph: who called whom, from the outside (top) in; the width of a frame is its share.
 * Frames of one function side by side under one caller are one. A click, or Enter, zooms into a
 * frame; the path above leads out again. What would be narrower than a few pixels is not drawn: the
 * page stays small however many call sites there are, and zooming brings it out.
 */

const ROW = 24, NARROWEST = 3, NARROWEST_NAME = 26, MAX_FRAMES = 2000;
const LEAST_ROWS = 10, MORE_ROWS = 2;
const graph = { root: null, zoom: null, focus: null };

function newFrame(label, parent) {
  return { label, parent, value: 0, children: new Map(), function: null, controller: null, depth: parent ? parent.depth + 1 : 0 };
}

function child(frame, key, make_) {
  let found = frame.children.get(key);
  if (!found) frame.children.set(key, (found = make_()));
  return found;
}

/* A site's place in the graph: below its controller, along its stack from the outside in. */
function addSite(root, site, value) {
  let frame = child(root, site.controller, () => {
    const controller = controllers[site.controller];
    return Object.assign(newFrame(controller.name, root), { controller });
  });
  root.value += value;
  frame.value += value;
  const stack = stackOf(site.node).reverse();
  const visible = state.plumbing ? stack : stack.filter((f) => !f.plumbing);
  for (const f of visible.length ? visible : stack.slice(-1)) {
    const parent = frame, key = f.label + "\n" + f.module;
    frame = child(parent, key, () => Object.assign(newFrame(f.label, parent), { function: f, controller: parent.controller }));
    frame.value += value;
  }
  if (site.flags & (FALLBACK | REST) || !stack.length) {
    const parent = frame, label = site.flags & REST ? "smaller call sites" : "callers not known";
    frame = child(parent, label, () => Object.assign(newFrame(label, parent), { controller: parent.controller, vague: true }));
    frame.value += value;
  }
}

/* Places every frame: [x0, x1] of the whole, largest first. */
function layOut(frame, x0, scale) {
  frame.x0 = x0;
  frame.x1 = x0 + frame.value * scale;
  frame.sorted = [...frame.children.values()].sort((a, b) => b.value - a.value || (a.label < b.label ? -1 : 1));
  for (const c of frame.sorted) {
    layOut(c, x0, scale);
    x0 = c.x1;
  }
}

function buildGraph() {
  const root = newFrame("all", null);
  const chosen = state.controller ? state.controller.sites : sites;
  for (const site of chosen) {
    const value = state.view.of(site);
    if (value > 0) addSite(root, site, value);
  }
  layOut(root, 0, root.value > 0 ? 1 / root.value : 0);
  graph.root = root;
}

/* The way from the outermost frame to this one. */
function pathOf(frame) {
  const path = [];
  for (; frame; frame = frame.parent) path.unshift(frame);
  return path;
}

/* The frames to draw below (and including) the zoomed one, the widest of them if they are too many.
   Sets `graph.narrow` where some are left out. */
function visibleFrames(width) {
  const zoom = graph.zoom, scale = width / (zoom.x1 - zoom.x0 || 1);
  const found = [];
  graph.narrow = false;
  const visit = (frame) => {
    if ((frame.x1 - frame.x0) * scale < NARROWEST) {
      graph.narrow = true;
      return;
    }
    found.push(frame);
    frame.sorted.forEach(visit);
  };
  visit(zoom);
  /* No long tails of slivers: rows end soon after the last that has room for a name. */
  const named = found.filter((frame) => (frame.x1 - frame.x0) * scale >= NARROWEST_NAME);
  const last = Math.max(d3.max(named, (frame) => frame.depth) || 0, zoom.depth + LEAST_ROWS) + MORE_ROWS;
  const shown = found.filter((frame) => frame.depth <= last);
  graph.narrow = graph.narrow || shown.length < found.length;
  if (shown.length <= MAX_FRAMES) return shown;
  graph.narrow = true;
  return shown.sort((a, b) => b.x1 - b.x0 - (a.x1 - a.x0) || a.depth - b.depth).slice(0, MAX_FRAMES);
}

function describe(frame) {
  const parts = [`${state.view.unit(frame.value)}`, percent(frame.value, graph.root.value) + " of all"];
  if (graph.zoom !== graph.root && frame !== graph.zoom) parts.push(percent(frame.value, graph.zoom.value) + " of what is shown");
  if (frame.function && placeBeside(frame.function)) parts.push(frame.function.place);
  return parts.join(" · ");
}

function readOut(frame) {
  const box = byId("readout");
  box.textContent = "";
  if (frame) box.append(nameOf(frame.label, "name code"), " ", make("span", { class: "note", text: describe(frame) }));
}

/* A shade of its own for each function, so that neighbours differ. */
function shade(label) {
  let hash = 0;
  for (let i = 0; i < Math.min(label.length, 64); i++) hash = (hash * 31 + label.charCodeAt(i)) | 0;
  return "shade" + (Math.abs(hash) % 4);
}

function matches(frame) {
  const f = frame.function;
  return state.query && f && textOf(f).includes(state.query.toLowerCase());
}

function frameElement(frame, top, width) {
  const zoom = graph.zoom, scale = 100 / (zoom.x1 - zoom.x0 || 1);
  const colour = frame.controller ? frame.controller.colour : "grey";
  const element = make("div", {
    class: `frame ${colour} ${shade(frame.label)}${frame.vague ? " vague" : ""}${matches(frame) ? " match" : ""}`,
    role: "treeitem", tabindex: "-1", "aria-level": String(frame.depth + 1), "aria-label": `${frame.label}, ${describe(frame)}`,
  }, (frame.x1 - frame.x0) * scale * width > 100 * NARROWEST_NAME ? make("bdi", { text: frame.label }) : null);
  element.style.left = (frame.x0 - zoom.x0) * scale + "%";
  element.style.width = (frame.x1 - frame.x0) * scale + "%";
  element.style.top = (frame.depth - top) * ROW + "px";
  element.frame = frame;
  frame.element = element;
  return element;
}

function drawCrumbs() {
  const box = byId("crumbs"), path = pathOf(graph.zoom);
  box.textContent = "";
  path.forEach((frame, i) => {
    if (path.length > 6 && i === 3) box.append(make("span", { class: "gap", text: "…" }));
    if (path.length > 6 && i > 2 && i < path.length - 3) return;
    const last = i === path.length - 1;
    box.append(make("button", { type: "button", "aria-current": last ? "true" : null, on: { click: () => zoomTo(frame) } },
                    make("bdi", { text: i ? frame.label : state.controller ? "all of " + state.controller.name : "all" })));
  });
}

function drawGraph() {
  const box = byId("graph");
  for (const element of box.children) if (element.frame) element.frame.element = null;
  box.textContent = "";
  drawCrumbs();
  if (!graph.root.value) {
    box.style.height = "";
    box.append(make("p", { class: "empty", text: `No ${state.view.what}.` }));
    readOut(null);
    return;
  }
  const frames = visibleFrames(box.clientWidth);
  const top = graph.zoom.depth, rows = d3.max(frames, (frame) => frame.depth) - top + 1;
  box.style.height = rows * ROW + "px";
  byId("graph-help").textContent = "Callers above, callees below; the width is the share. Click or Enter zooms in, Escape out, arrow keys move."
    + (graph.narrow ? " Where it is empty, frames are too narrow to be drawn: zoom in." : "");
  box.append(...frames.map((frame) => frameElement(frame, top, box.clientWidth)));
  setFocus(graph.focus && graph.focus.element ? graph.focus : graph.zoom, false);
  readOut(graph.zoom);
}

/* The one frame that the tab key reaches. */
function setFocus(frame, really) {
  if (graph.focus && graph.focus.element) graph.focus.element.tabIndex = -1;
  graph.focus = frame;
  frame.element.tabIndex = 0;
  if (really) frame.element.focus({ preventScroll: false });
}

function zoomTo(frame, really = true) {
  graph.zoom = frame;
  graph.focus = null;
  drawGraph();
  if (really) graph.focus.element.focus({ preventScroll: true });
}

const drawn = (frame) => (frame && frame.element ? frame : null);

/* The frame beside, at the same depth. */
function neighbour(frame, step) {
  if (frame === graph.zoom) return null;
  const row = frame.parent.sorted;
  return drawn(row[row.indexOf(frame) + step]);
}

const GRAPH_KEYS = {
  ArrowDown: (frame) => setFocus(drawn(frame.sorted[0]) || frame, true),
  ArrowUp: (frame) => setFocus((frame !== graph.zoom && drawn(frame.parent)) || frame, true),
  ArrowLeft: (frame) => setFocus(neighbour(frame, -1) || frame, true),
  ArrowRight: (frame) => setFocus(neighbour(frame, 1) || frame, true),
  Enter: (frame) => zoomTo(frame),
  " ": (frame) => zoomTo(frame),
  Escape: () => graph.zoom.parent && zoomTo(graph.zoom.parent),
  Backspace: () => graph.zoom.parent && zoomTo(graph.zoom.parent),
  Home: () => zoomTo(graph.root),
};

function frameOf(event) {
  const element = event.target.closest(".frame");
  return element ? element.frame : null;
}

function rebuild() {
  const wasAt = graph.zoom ? pathOf(graph.zoom).map((frame) => frame.label) : [];
  buildGraph();
  graph.zoom = graph.root;
  graph.focus = null;
  /* What was zoomed into stays so where it is still there. */
  for (const label of wasAt.slice(1)) {
    const next = graph.zoom.sorted.find((frame) => frame.label === label);
    if (!next) break;
    graph.zoom = next;
  }
  drawGraph();
}

function viewNote() {
  const { view } = state;
  const moment = view.id === "peak" ? data.peak : view.id === "growth" ? data.baseline : null;
  if (!moment) return view.id === "allocated" ? "Everything that was ever allocated, freed or not." : view.id === "blocks" ? "Allocated and not freed, by number of blocks." : "Allocated and not freed, in bytes.";
  if (!known(moment.time)) return "The file does not tell of that moment.";
  const when = `${duration(moment.time)} after the start`;
  const left = moment.leftOut ? ` ${bytes(moment.leftOut)} moved at call sites that were not listed up to then.` : "";
  return (view.id === "peak" ? `When the process held most: ${when}, ${bytes(moment.live)}.` : `Live now minus live ${when}; what shrank is not drawn.`) + left;
}

function showViews() {
  choice(byId("views"), VIEWS, (view) => view === state.view, (view) => {
    change({ view });
    byId("views").querySelector("[aria-pressed=true]").focus();
  });
  byId("view-note").textContent = viewNote();
}

function showFlame() {
  const box = byId("graph");
  box.addEventListener("click", (event) => {
    const frame = frameOf(event);
    if (frame) zoomTo(frame === graph.zoom && frame.parent ? frame.parent : frame);
  });
  box.addEventListener("pointerover", (event) => readOut(frameOf(event) || graph.zoom));
  box.addEventListener("pointerleave", () => readOut(graph.zoom));
  box.addEventListener("focusin", (event) => readOut(frameOf(event)));
  box.addEventListener("keydown", (event) => {
    const frame = frameOf(event), act = GRAPH_KEYS[event.key];
    if (!frame || !act) return;
    event.preventDefault();
    act(frame);
  });
  byId("plumbing").addEventListener("change", (event) => change({ plumbing: event.target.checked }));
  showViews();
  rebuild();
  onChange((changes) => {
    if ("view" in changes) showViews();
    if ("view" in changes || "controller" in changes || "plumbing" in changes) rebuild();
    else if ("query" in changes) drawGraph();
  });
}
