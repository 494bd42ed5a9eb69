/*
 * Resident memory, the live heap and who holds it, on one axis of time, with the alerts. Controllers
 * are stacked (their sum is the live heap) or lines from zero with the span between their lowest and
 * highest values. The legend shows the values at the cursor, which the pointer or the arrow keys
 * move.
 */

const timeline = { stacked: true, hidden: new Set(), cursor: null, series: [], height: 300 };

function lastKnown(values) {
  return values.length ? values[values.length - 1] : null;
}

/* The series to draw: the largest controllers, the sum of all others, and resident memory. */
function makeSeries() {
  const zero = data.times.map(() => 0);
  const rest = { name: "others", colour: "grey", value: data.rest.value.slice(), fixed: true };
  const shown = [];
  for (const controller of controllers) {
    if (!controller.past) continue;
    if (controller.colour !== "grey") shown.push({ name: controller.name, colour: controller.colour, controller, ...controller.past });
    else controller.past.value.forEach((value, i) => (rest.value[i] += value));
  }
  shown.sort((a, b) => b.controller.peak - a.controller.peak);
  if (rest.value.some((value) => value > 0)) shown.push(rest);
  const total = zero.map((_, i) => d3.sum(shown, (s) => s.value[i]));
  timeline.series = shown;
  timeline.total = { name: "Live heap", colour: "total", value: total };
  timeline.rss = { name: "Resident", colour: "rss", value: data.rss.value, low: data.rss.low, high: data.rss.high };
}

const isShown = (series) => !timeline.hidden.has(series);

/* Ticks at round times of day or round durations. */
function timeTicks(span, count) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
  const step = steps.find((s) => span / s <= count) || Math.ceil(span / count / 604800) * 604800;
  return span < 1 ? [] : d3.range(0, span + step / 1000, step);
}

/* Ticks at round sizes in the unit that suits the largest. */
function sizeTicks(top, count) {
  const unit = [MB * 1024, MB, 1024, 1].find((u) => top >= u) || 1;
  return d3.ticks(0, top / unit, count).map((tick) => tick * unit);
}

function topOfChart() {
  const shown = timeline.series.filter(isShown);
  const sums = timeline.stacked
    ? d3.max(data.times, (_, i) => d3.sum(shown, (s) => s.value[i])) : d3.max(shown, (s) => d3.max(s.high || s.value));
  const total = isShown(timeline.total) ? d3.max(timeline.total.value) : 0;
  const rss = isShown(timeline.rss) ? d3.max(timeline.rss.high || timeline.rss.value) : 0;
  return Math.max(sums || 0, total || 0, rss || 0, 1);
}

function drawAxes(svg, x, y, width, height) {
  const span = data.times[data.times.length - 1];
  const rows = svg.append("g").attr("class", "grid");
  for (const tick of sizeTicks(y.domain()[1], 5)) {
    rows.append("line").attr("x1", x.range()[0]).attr("x2", width).attr("y1", y(tick)).attr("y2", y(tick));
    rows.append("text").attr("x", x.range()[0] - 8).attr("y", y(tick)).attr("dy", "0.32em").attr("text-anchor", "end").text(tick ? bytes(tick).replace(/\.0+ /, " ") : "0");
  }
  const columns = svg.append("g").attr("class", "grid times");
  for (const tick of timeTicks(span, Math.max(2, width / 110))) {
    if (tick < x.domain()[0] && tick > 0) continue;
    const at = x(Math.max(tick, x.domain()[0]));
    columns.append("text").attr("x", at).attr("y", height - 6).attr("text-anchor", at < 60 ? "start" : at > width - 30 ? "end" : "middle").text(tick ? duration(tick) : "start");
  }
}

function drawControllers(svg, x, y) {
  const line = d3.line().defined((v) => v !== null).x((_, i) => x(data.times[i])).y((v) => y(v));
  const floor = data.times.map(() => 0);
  const shown = timeline.series.filter(isShown);
  for (const s of timeline.stacked ? shown.slice().reverse() : shown) {
    const picked = !state.controller || s.controller === state.controller;
    const group = svg.append("g").attr("class", `series ${s.colour}${picked ? "" : " faded"}`);
    const span = d3.area().x((_, i) => x(data.times[i]));
    if (timeline.stacked) {
      const below = floor.slice();
      s.value.forEach((value, i) => (floor[i] += value));
      group.append("path").attr("class", "area").attr("d", span.y0((_, i) => y(below[i])).y1((_, i) => y(floor[i]))(s.value));
      group.append("path").attr("class", "edge").attr("d", line(floor));
    } else {
      const low = s.low || s.value, high = s.high || s.value;
      group.append("path").attr("class", "area").attr("d", span.y0((_, i) => y(low[i])).y1((_, i) => y(high[i]))(s.value));
      group.append("path").attr("class", "line").attr("d", line(s.value));
    }
  }
}

function drawProcess(svg, x, y) {
  const line = d3.line().defined((v) => v !== null).x((_, i) => x(data.times[i])).y((v) => y(v));
  for (const s of [timeline.total, timeline.rss])
    if (isShown(s) && !(s === timeline.total && timeline.stacked && timeline.hidden.size))
      svg.append("path").attr("class", "line " + s.colour).attr("d", line(s.value));
}

function drawAlerts(svg, x, top, bottom) {
  const marks = svg.append("g").attr("class", "alerts");
  data.alerts.forEach((alert, i) => {
    const at = x(Math.min(Math.max(alert.time, x.domain()[0]), x.domain()[1]));
    const mark = marks.append("g").attr("class", `alert ${alert.severity} ${alert.state}`);
    mark.append("line").attr("x1", at).attr("x2", at).attr("y1", top).attr("y2", bottom);
    mark.append("path").attr("d", `M${at - 5},${top - 9}h10l-5,9z`);
    mark.append("title").text(alert.message);
    mark.attr("data-alert", i);
  });
}

function drawChart() {
  const box = byId("chart");
  const width = box.clientWidth, height = timeline.height, narrow = width < 500;
  const left = 64, top = 16, bottom = height - 24;
  box.textContent = "";
  if (data.times.length < 2 || width < 100) {
    box.append(make("p", { class: "empty", text: "Too short a run for a curve: fewer than two ticks." }));
    box.classList.add("without");
    return;
  }
  const x = d3.scaleLinear([data.times[0], data.times[data.times.length - 1]], [left, width - (narrow ? 4 : 12)]);
  const y = d3.scaleLinear([0, topOfChart() * 1.05], [bottom, top]);
  const svg = d3.select(box).append("svg").attr("width", width).attr("height", height).attr("aria-hidden", "true");
  drawAxes(svg, x, y, width, height);
  drawControllers(svg, x, y);
  drawProcess(svg, x, y);
  drawAlerts(svg, x, top, bottom);
  timeline.x = x;
  timeline.rule = svg.append("line").attr("class", "rule").attr("y1", top).attr("y2", bottom);
  moveCursor(timeline.cursor);
}

/* Shows the values at a moment, by its index; at the end for null. */
function moveCursor(index) {
  timeline.cursor = index;
  const i = index === null ? data.times.length - 1 : index;
  for (const output of byId("legend").querySelectorAll("output")) output.textContent = bytes(output.series.value[i]);
  const at = data.times[i];
  byId("legend-time").textContent = i < 0 ? "" : index === null ? "at the end" : `after ${duration(at)}`;
  byId("legend-time").title = clock(data.process.start, at || 0);
  if (timeline.rule)
    timeline.rule.attr("x1", timeline.x(at)).attr("x2", timeline.x(at)).style("display", index === null ? "none" : null);
}

function legendEntry(series) {
  const output = make("output");
  output.series = series;
  return make("button", { type: "button", class: "key " + series.colour, "aria-pressed": "true", title: "Show or hide",
                          on: { click: (event) => {
                            const button = event.currentTarget, hide = isShown(series);
                            timeline.hidden[hide ? "add" : "delete"](series);
                            button.setAttribute("aria-pressed", String(!hide));
                            drawChart();
                          } } },
              make("span", { class: "swatch" }), nameOf(series.name), output);
}

function moveByKey(event) {
  const last = data.times.length - 1, now = timeline.cursor === null ? last : timeline.cursor;
  const far = Math.max(1, Math.round(last / 20)) * (event.shiftKey ? 1 : 0) || 1;
  const moves = { ArrowLeft: now - far, ArrowRight: now + far, Home: 0, End: last };
  if (event.key === "Escape") moveCursor(null);
  else if (event.key in moves) {
    event.preventDefault();
    moveCursor(Math.min(last, Math.max(0, moves[event.key])));
  }
}

function pointAt(event) {
  if (!timeline.x) return;
  const at = timeline.x.invert(event.clientX - byId("chart").getBoundingClientRect().left);
  const i = d3.bisectLeft(data.times, at);
  moveCursor(Math.min(data.times.length - 1, i > 0 && at - data.times[i - 1] < (data.times[i] || Infinity) - at ? i - 1 : i));
}

/* One switch of several: buttons of which one is pressed. */
function choice(box, entries, isOn, pick) {
  box.textContent = "";
  for (const entry of entries)
    box.append(make("button", { type: "button", text: entry.name, "data-id": entry.id, "aria-pressed": String(isOn(entry)),
                                on: { click: () => pick(entry) } }));
}

function showModes() {
  choice(byId("timeline-mode"), [{ id: "stacked", name: "Stacked" }, { id: "lines", name: "Lines" }],
         (mode) => (mode.id === "stacked") === timeline.stacked,
         (mode) => {
           timeline.stacked = mode.id === "stacked";
           showModes();
           drawChart();
           byId("timeline-mode").querySelector("[aria-pressed=true]").focus();
         });
}

/* Alerts below the chart, the latest first, in words. */
function showAlerts() {
  if (!data.alerts.length) return;
  const SHOWN = 5;
  const list = make("ol", { class: "alert-list" });
  const item = (alert) => make("li", { class: `${alert.severity} ${alert.state}` },
    make("span", { class: "when", text: duration(alert.time), title: clock(data.process.start, alert.time) }),
    make("span", { class: "chip", text: alert.state === "clear" ? "over" : alert.severity || "alert" }),
    nameOf(alert.message || alert.kind || "unknown kind", "message"));
  const latest = data.alerts.slice().reverse();
  list.append(...latest.slice(0, SHOWN).map(item));
  byId("alerts").append(make("h3", { text: "Alerts" }), list);
  if (latest.length > SHOWN) {
    const more = make("button", { type: "button", class: "more", text: `Show ${latest.length - SHOWN} more`,
                                  on: { click: () => { list.append(...latest.slice(SHOWN).map(item)); more.remove(); } } });
    byId("alerts").append(more);
  }
  if (data.alertsLeftOut) byId("alerts").append(make("p", { class: "hint", text: `${grouped(data.alertsLeftOut)} earlier ones are left out.` }));
}

function showTimeline() {
  makeSeries();
  byId("legend").append(...[timeline.rss, timeline.total, ...timeline.series].map(legendEntry), make("span", { id: "legend-time" }));
  const box = byId("chart");
  box.addEventListener("pointermove", pointAt);
  box.addEventListener("pointerdown", pointAt);
  box.addEventListener("pointerleave", () => moveCursor(null));
  box.addEventListener("keydown", moveByKey);
  box.setAttribute("aria-label", "Memory over time");
  byId("chart-help").textContent = "Point at a moment, or use the arrow keys. Names switch curves on and off.";
  showModes();
  showAlerts();
  drawChart();
  onChange((changes) => "controller" in changes && drawChart());
}
