// What all panels need. Text becomes text nodes, never HTML; a node is touched only when it changes.

export const byId = (id) => document.getElementById(id);

export function text(node, value) {
  const shown = value === null || value === undefined || value === "" ? "–" : String(value);
  if (node.textContent !== shown) node.textContent = shown;
}

export function plain(node, value) {
  const shown = value ?? "";
  if (node.textContent !== shown) node.textContent = shown;
}

export function level(node, value) {
  if (value) {
    if (node.dataset.level !== value) node.dataset.level = value;
  } else if (node.dataset.level !== undefined) {
    delete node.dataset.level;
  }
}

export function make(name, ...classes) {
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  return node;
}

// Brings the children of `parent` to `items`: those that are there are used again, by their places.
export function fill(parent, items, create, update) {
  while (parent.childElementCount > items.length) parent.lastElementChild.remove();
  while (parent.childElementCount < items.length) parent.append(create());
  items.forEach((item, place) => update(parent.children[place], item));
}

export function row(...classes) {
  const tr = make("tr");
  for (const name of classes) tr.append(make("td", ...(name ? [name] : [])));
  return tr;
}

export function cells(tr, values) {
  values.forEach((value, place) => text(tr.children[place], value));
}

export function lines(parent, values) {
  fill(parent, values, () => make("li"), (li, value) => plain(li, value));
}

// A list of [label, value, level, explanation] as dt and dd.
export function pairs(parent, values) {
  fill(parent, values.flatMap(([label, value, mark, why]) => [["dt", label, null, why], ["dd", value, mark, why]]),
    () => make(parent.childElementCount % 2 ? "dd" : "dt"),
    (node, [, value, mark, why = ""]) => { text(node, value); level(node, mark); if (node.title !== why) node.title = why; });
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let shown = value, unit = 0;
  while (shown >= 1024 && unit < units.length - 1) { shown /= 1024; unit += 1; }
  return `${shown.toFixed(unit && shown < 100 ? 1 : 0)} ${units[unit]}`;
}

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

export function short(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1e-3) return `${Math.round(seconds * 1e6)} µs`;
  return seconds < 1 ? `${+(seconds * 1e3).toFixed(1)} ms` : `${+seconds.toFixed(1)} s`;
}

const inIndia = new Intl.DateTimeFormat("en-GB", {
  timeZone: "Asia/Kolkata", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const dayInIndia = new Intl.DateTimeFormat("en-CA", { timeZone: "Asia/Kolkata" });
const dayShown = new Intl.DateTimeFormat("en-GB", {
  timeZone: "Asia/Kolkata", day: "numeric", month: "short",
});

const weekdayShown = new Intl.DateTimeFormat("en-IN", {
  timeZone: "Asia/Kolkata", weekday: "short", day: "numeric", month: "short",
});

// The exchanges trade by the day of the week.
export function day(ms) {
  return weekdayShown.format(ms);
}

export function time(ms, nowMs) {
  if (ms === null || ms === undefined) return "–";
  const clock = inIndia.format(ms);
  if (nowMs === undefined || dayInIndia.format(ms) === dayInIndia.format(nowMs)) return clock;
  return `${dayShown.format(ms)} ${clock}`;
}
