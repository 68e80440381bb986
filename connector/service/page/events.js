// Events, of all slots or of one, and what was missed: since the morning, and at this moment.

import { age, byId, cells, count, fill, level, lines, make, pairs, plain, row, text, time } from "./dom.js";
import { ask } from "./inspector.js";
import { LATE_SECONDS } from "./panels.js";

const choice = byId("events-slot");
let view = null, snapshot = null, asked = 0;

function described(event) {
  const parts = [];
  if (event.type === "gap" && event.from_ms === null) parts.push("what came before is not known");
  else if (event.from_ms !== null && event.to_ms !== null) parts.push(age((event.to_ms - event.from_ms) / 1000));
  if (event.instruments) parts.push(`${count(event.instruments)} instruments`);
  if (event.reason) parts.push(event.reason);
  return parts.join(", ");
}

function show(events) {
  fill(byId("events"), events, () => row("", "", "", ""), (tr, event) => {
    cells(tr, [time(event.time_ms, snapshot?.now_ms), event.slot, event.type.replaceAll("_", " "), described(event)]);
  });
}

async function choose() {
  const number = ++asked;
  if (!choice.value) { show(view.events); return; }
  try {
    const found = await ask(`page/events?slot=${choice.value}`);
    if (number === asked) show(found.events);
  } catch (error) {
    if (number === asked) plain(byId("events-note"), error.message);
  }
}

// What of a slot does not come at this moment, or "" where all comes.
function missing(slot) {
  const since = slot.age_seconds === null ? "" : ` since ${time(snapshot.now_ms - slot.age_seconds * 1000, snapshot.now_ms)}, ${age(slot.age_seconds)}`;
  if (slot.halt || slot.state !== "connected" || slot.age_seconds > LATE_SECONDS) return `nothing comes now${since}`;
  if (slot.confirmed !== null && slot.confirmed < slot.desired) return `${count(slot.desired - slot.confirmed)} of ${count(slot.desired)} instruments have sent nothing on this connection`;
  return "";
}

function past(lost) {
  if (!lost) return "nothing else was missed";
  const parts = [];
  if (lost.gaps) parts.push(`${count(lost.gaps)} ${lost.gaps === 1 ? "gap" : "gaps"}, ${age(lost.gap_seconds)} missed`);
  if (lost.times > lost.gaps) parts.push("records dropped");
  parts.push(`the last until ${time(lost.last_ms, snapshot.now_ms)}`);
  if (view.losses.backfill) parts.push(`candles of ${lost.backfilled} of ${lost.times} fetched`);
  return parts.join(", ");
}

function lost() {
  const { losses } = view, { longest } = losses, nowMs = snapshot.now_ms;
  const now = new Map(snapshot.slots.map((slot) => [slot.slot, missing(slot)]));
  const open = [...now].filter(([, what]) => what).map(([slot]) => slot);
  plain(byId("lost-since"), `since ${time(losses.since_ms, nowMs)}, ${view.events_of_all ? "all slots" : "this replica"}`);
  pairs(byId("lost"), [
    ["missing now", open.length ? `slot ${open.join(", ")}` : "nothing", open.length ? "bad" : "good"],
    ["gaps in the feed, over", count(losses.gaps), losses.gaps ? "warn" : "good"],
    ["time missed", age(losses.gap_seconds), losses.gap_seconds ? "warn" : null],
    ["longest", longest ? `${age(longest.seconds)}, slot ${longest.slot}, ${time(longest.from_ms, nowMs)}` : "–"],
    ["starts, unknown before", count(losses.gaps_without_beginning)],
    ["times records were dropped", count(losses.drops.length), losses.drops.length ? "bad" : "good"],
  ]);
  const before = new Map(losses.slots.map((one) => [one.slot, one]));
  const slots = [...new Set([...open, ...before.keys()])].sort((one, other) => one - other);
  fill(byId("lost-slots"), slots, () => {
    const li = make("li");
    li.append(make("b"), make("span"), make("span"));
    return li;
  }, (li, slot) => {
    const what = now.get(slot);
    text(li.children[0], `slot ${slot}: `);
    plain(li.children[1], what ? `${what}; ` : "");
    level(li.children[1], what ? "bad" : null);
    plain(li.children[2], past(before.get(slot)));
  });
  lines(byId("drops"), losses.drops.map((drop) =>
    `${time(drop.from_ms ?? drop.time_ms, nowMs)} to ${time(drop.to_ms ?? drop.time_ms, nowMs)}: ${drop.reason}`));
}

export function take(shown) {
  view = shown;
  const problems = Object.entries(view.problems).map(([topic, reason]) => `${topic}: ${reason}`);
  plain(byId("events-note"), problems.length ? problems.join("; ") : view.events_of_all ? "newest first, all replicas" : "newest first, this replica");
  level(byId("events-note"), problems.length ? "warn" : null);
  choose();
  if (snapshot) lost();
}

export function renew(shown) {
  snapshot = shown;
  fill(choice, [null, ...snapshot.slots], () => make("option"), (option, slot) => {
    const value = slot ? String(slot.slot) : "";
    if (option.value !== value || !option.textContent) option.value = value;
    plain(option, slot ? `slot ${slot.slot}` : "all slots");
  });
  if (view) lost();
}

export function start() {
  choice.addEventListener("change", () => { if (view) choose(); });
}
