// Instruments by name: what a watchlist claims, and who is silent; each leads to the inspector.

import { age, byId, count, fill, make, plain, text } from "./dom.js";
import { ask, inspect } from "./inspector.js";

let shown = null, revision = null, asked = 0;

// A button for each instrument, with a few words behind its name.
export function instruments(parent, list, words) {
  fill(parent, list, () => {
    const li = make("li"), button = make("button", "link");
    button.type = "button";
    button.addEventListener("click", () => inspect(button.instrument));
    li.append(button, make("span", "note"));
    return li;
  }, (li, one) => {
    const [button, note] = li.children;
    button.instrument = one;
    text(button, one.symbol ?? one.token);
    plain(note, words(one));
  });
}

export function silent(snapshot) {
  const { unserved, unserved_count: all } = snapshot.status;
  plain(byId("silent-note"), !all ? "none of this replica's, while their markets are open"
    : `${count(all)} of this replica's have sent nothing in market hours, although asked for again${all > unserved.length ? `; the ${unserved.length} that are so longest` : ""}`);
  instruments(byId("silent"), unserved, (one) => `slot ${one.slot}, ${age(one.seconds)}`);
}

async function open(name, start) {
  const number = ++asked;
  try {
    const page = await ask(`page/watchlist?name=${encodeURIComponent(name)}&start=${start}`);
    if (number !== asked) return;
    shown = { name, start, step: page.step };
    byId("members").hidden = false;
    text(byId("members-title"), name);
    const end = start + page.members.length;
    plain(byId("members-note"), page.count ? `${count(start + 1)} to ${count(end)} of ${count(page.count)}` : "claims nothing");
    instruments(byId("members-list"), page.members, (one) => `${one.mode}, slot ${one.slot}`);
    byId("members-before").disabled = start === 0;
    byId("members-next").disabled = end >= page.count;
  } catch (error) {
    plain(byId("watchlists-note"), error.message);
  }
}

// The name of a watchlist, as a button, and room for its rule; made once, as the rows are.
export function opener(td) {
  const button = make("button", "link");
  button.type = "button";
  button.addEventListener("click", () => open(button.textContent, 0));
  td.append(button, make("span", "note"));
}

// What is open is asked for again when something has changed.
export function renew(view) {
  if (shown && view.revision !== revision) open(shown.name, shown.start);
  revision = view.revision;
}

export function start() {
  byId("members-next").addEventListener("click", () => open(shown.name, shown.start + shown.step));
  byId("members-before").addEventListener("click", () => open(shown.name, Math.max(0, shown.start - shown.step)));
  byId("members-close").addEventListener("click", () => {
    shown = null;
    asked += 1;
    byId("members").hidden = true;
  });
}
