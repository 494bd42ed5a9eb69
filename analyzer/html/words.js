/* Numbers and times in words, and elements made of text. */

const MB = 1024 * 1024;
const UNKNOWN = "–";

/* An element. `properties`: class, text, and attributes by name; children are elements or text.
   Text becomes text, whatever it holds. */
function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key === "class") element.className = value;
    else if (key === "on") for (const [event, f] of Object.entries(value)) element.addEventListener(event, f);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function byId(id) {
  return document.getElementById(id);
}

/* A name of somebody else's: kept apart from the writing direction around it. */
function nameOf(text, className = "name") {
  return make("bdi", { class: className, text, title: text.length > 40 ? text : null });
}

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

const grouped = (value) => (known(value) ? Math.round(value).toLocaleString("en") : UNKNOWN);

/* Three digits or more: 1.23, 12.3, 1,234. */
function digits(value) {
  const size = Math.abs(value);
  const places = size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : 2;
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}

/* "4.66 MB", "812 KB", "64 B". */
function bytes(value) {
  if (!known(value)) return UNKNOWN;
  const size = Math.abs(value);
  for (const [unit, name] of [[MB * 1024 * 1024, "TB"], [MB * 1024, "GB"], [MB, "MB"], [1024, "KB"]])
    if (size >= unit * 0.9995) return digits(value / unit) + " " + name;
  return grouped(value) + " B";
}

const signed = (text, value) => (value > 0 ? "+" + text : text);

/* Of a rate or a size in MB, which may be tiny: "<0.01". */
function megabytes(value) {
  if (!known(value)) return UNKNOWN;
  if (value > 0 && value < 0.005) return "<0.01";
  return digits(value);
}

function percent(part, whole) {
  if (!whole) return UNKNOWN;
  const share = (100 * part) / whole;
  if (share > 0 && share < 0.1) return "<0.1 %";
  return share.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 }) + " %";
}

function counted(number, noun) {
  return grouped(number) + " " + noun + (number === 1 ? "" : noun.endsWith("s") ? "es" : "s");
}

/* "1.2 s", "3 min 4 s", "5 h 6 min", "7 d 8 h". */
function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 60) return (seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)) + " s";
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const i = units.findIndex(([unit]) => seconds >= unit);
  const [large, largeName] = units[i];
  const [small, smallName] = units[i + 1] || [1, "s"];
  const whole = Math.floor(seconds / large);
  const rest = Math.floor((seconds - whole * large) / small);
  return whole + " " + largeName + (rest > 0 ? " " + rest + " " + smallName : "");
}

/* A moment of the run as a clock shows it here. */
function clock(start, seconds) {
  if (!start) return "";
  const time = new Date(start + seconds * 1000);
  return time.toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/* Where a function is, unless its name says so already. */
const placeBeside = (f) => (f.place === f.label ? null : f.place);

function baseName(path) {
  return path.slice(path.lastIndexOf("/") + 1) || path;
}
