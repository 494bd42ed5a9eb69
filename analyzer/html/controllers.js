/* The table of controllers: figures, verdict, and each one's past as a small curve. */

const CONTROLLERS_SHOWN = 12;

function sparkline(past) {
  if (!past || past.value.length < 2) return null;
  const width = 96, height = 24;
  const high = past.high || past.value, low = past.low || past.value;
  const x = d3.scaleLinear([data.times[0], data.times[data.times.length - 1]], [1, width - 1]);
  const y = d3.scaleLinear([0, d3.max(high) || 1], [height - 1, 2]);
  const svg = d3.create("svg").attr("class", "spark").attr("width", width).attr("height", height).attr("aria-hidden", "true");
  svg.append("path").attr("class", "area").attr("d", d3.area().x((_, i) => x(data.times[i])).y0(height).y1((_, i) => y(low[i]))(low));
  svg.append("path").attr("class", "line").attr("d", d3.line().x((_, i) => x(data.times[i])).y((v) => y(v))(past.value));
  return svg.node();
}

const chip = (kind) => make("span", { class: "chip " + kind, text: kind });

function controllerRow(controller) {
  const pressed = state.controller === controller;
  const cell = (label, value, title) => make("td", { class: value === UNKNOWN ? "number none" : "number", "data-label": label, title }, value);
  const button = make("button", { type: "button", class: "key link " + controller.colour, "aria-pressed": String(pressed),
                                  title: "Show this controller only",
                                  on: { click: () => {
                                    change({ controller: pressed ? null : controller });
                                    byId("controllers-table").querySelectorAll("tbody button")[controller.index]?.focus();
                                  } } },
                      make("span", { class: "swatch" }), nameOf(controller.name));
  return make("tr", { class: controller.colour + (pressed ? " picked" : "") + (controller.suspect ? " suspect" : "") },
    make("th", { scope: "row" }, button),
    make("td", { class: "curve" }, sparkline(controller.past)),
    cell("live", bytes(controller.live), grouped(controller.live) + " bytes"),
    cell("blocks", grouped(controller.blocks)),
    cell("peak", bytes(controller.peak)),
    cell("made", grouped(controller.made)),
    cell("MB per 1000", megabytes(controller.per1000)),
    cell("MB per hour", known(controller.verdict.rate) ? megabytes(controller.verdict.rate) : UNKNOWN, intervalOf(controller.verdict)),
    make("td", { class: "verdict", title: controller.verdict.reason }, chip(controller.verdict.kind),
         controller.timesLimit > 1 ? make("span", { class: "over", text: "×" + digits(controller.timesLimit) + " limit" }) : null));
}

let allControllers = false;

function drawControllersTable() {
  const box = byId("controllers-table");
  box.textContent = "";
  if (!controllers.length) {
    box.append(make("p", { class: "empty", text: "None was seen." }));
    return;
  }
  const heads = ["Controller", "Over time", "Live", "Blocks", "Peak", "Made", "MB / 1000", "MB / hour", "Verdict"];
  const head = make("tr", {}, ...heads.map((text, i) => make("th", { scope: "col", class: i > 1 && i < 8 ? "number" : null, text })));
  const shown = allControllers ? controllers : controllers.slice(0, CONTROLLERS_SHOWN);
  box.append(make("table", { class: "rows" }, make("thead", {}, head), make("tbody", {}, ...shown.map(controllerRow))));
  if (shown.length < controllers.length)
    box.append(make("button", { type: "button", class: "more", text: `Show ${grouped(controllers.length - shown.length)} more`,
                                on: { click: () => { allControllers = true; drawControllersTable(); } } }));
  if (data.controllersLeftOut)
    box.append(make("p", { class: "hint", text: `${counted(data.controllersLeftOut, "more controller")} not in this page.` }));
}

function showControllers() {
  drawControllersTable();
  onChange((changes) => "controller" in changes && drawControllersTable());
}
