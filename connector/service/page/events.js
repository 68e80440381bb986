// Events, of all slots or of one, and what was missed: since the morning, and at this moment.

import { age, byId, cells, count, fill, level, lines, make, pairs, plain, row, text, time } from "./dom.js";
import { ask } from "./inspector.js";
import { LATE_SECONDS } from "./panels.js";

const choice = byId("events-slot");
let view = null, snapshot = null, asked = 0, listed = [];

// How often something was tried in vain, and in which time.
function repeated(event, lasts) {
  const nowMs = snapshot?.now_ms;
  return `${count(event.times)} times, ${time(event.first_ms, nowMs)} to ${lasts ? "now" : time(event.time_ms, nowMs)}`;
}

function described(event, lasts) {
  const parts = [];
  if (event.type === "gap" && event.from_ms === null) parts.push("what came before is not known");
  else if (event.from_ms !== null && event.to_ms !== null) parts.push(age((event.to_ms - event.from_ms) / 1000));
  if (event.instruments) parts.push(`${count(event.instruments)} instruments`);
  if (event.reason) parts.push(event.reason);
  if (event.times > 1) parts.push(repeated(event, lasts));
  return parts.join(", ");
}

// The newest of each slot that is not connected: what it tells of goes on.
function lasting(events) {
  const down = new Set((snapshot?.slots ?? []).filter((slot) => slot.state !== "connected").map((slot) => slot.slot));
  return new Set(events.filter((event) => event.type !== "connecting" && down.delete(event.slot)));
}

function show(events) {
  listed = events;
  const last = lasting(events);
  fill(byId("events"), events, () => row("", "", "", ""), (tr, event) => {
    cells(tr, [time(event.time_ms, snapshot?.now_ms), event.slot, event.type.replaceAll("_", " "), described(event, last.has(event))]);
  });
  plain(byId("events-none"), events.length ? "" : choice.value ? `no events of slot ${choice.value} are known` : "no events are known");
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

// For how long nothing has come of a slot, seconds; null where something comes, or that is not known.
function outage(slot) {
  return slot.age_seconds !== null && (slot.state !== "connected" || slot.age_seconds > LATE_SECONDS) ? slot.age_seconds : null;
}

function gaps(running) {
  const { losses } = view, nowMs = snapshot.now_ms;
  const shown = [
    ...running.map((slot) => [slot.slot, nowMs - slot.age_seconds * 1000, null, slot.age_seconds]),
    ...losses.newest_gaps.map((gap) => [gap.slot, gap.from_ms, gap.to_ms, gap.seconds]),
  ];
  byId("gaps-table").hidden = !shown.length;
  fill(byId("gaps"), shown, () => row("", "", "", "num"), (tr, [slot, from, until, seconds]) => {
    cells(tr, [slot, time(from, nowMs), until === null ? "still running" : time(until, nowMs), age(seconds)]);
    level(tr, until === null ? "bad" : null);
  });
  plain(byId("gaps-more"), losses.gaps > losses.newest_gaps.length ? `the newest ${losses.newest_gaps.length} of ${count(losses.gaps)}` : "");
}

function longest(running) {
  const nowMs = snapshot.now_ms, over = view.losses.longest;
  const now = running.reduce((most, slot) => (most && most.age_seconds >= slot.age_seconds ? most : slot), null);
  if (now && !(over && over.seconds > now.age_seconds)) return `${age(now.age_seconds)}, slot ${now.slot}, still running`;
  return over ? `${age(over.seconds)}, slot ${over.slot}, ${time(over.from_ms, nowMs)}` : "–";
}

function lost() {
  const { losses } = view, nowMs = snapshot.now_ms;
  const now = new Map(snapshot.slots.map((slot) => [slot.slot, missing(slot)]));
  const open = [...now].filter(([, what]) => what).map(([slot]) => slot);
  const running = snapshot.slots.filter((slot) => outage(slot) !== null);
  const seconds = running.reduce((sum, slot) => sum + slot.age_seconds, 0);
  const where = view.events_of_all ? "all slots" : "this replica";
  plain(byId("lost-since"), losses.since_ms === null ? "nothing is known yet" : `known since ${time(losses.since_ms, nowMs)}, ${where}`);
  pairs(byId("lost"), [
    ["missing now", open.length ? `slot ${open.join(", ")}` : "nothing", open.length ? "bad" : "good"],
    ["gaps that ended", count(losses.gaps), losses.gaps ? "warn" : "good", "times in which a slot received nothing from Kite, and that are over"],
    ["gaps still running", count(running.length), running.length ? "bad" : "good", "slots that receive nothing now"],
    ["time missed", running.length ? `${age(losses.gap_seconds)}, and ${age(seconds)} still running` : age(losses.gap_seconds),
      running.length ? "bad" : losses.gap_seconds ? "warn" : null, "the lengths of all gaps together, over all slots"],
    ["longest gap", longest(running)],
    ["starts without a past", count(losses.gaps_without_beginning), null, "a slot began, and nothing tells until when it had received before: whether it missed something is not known"],
    ["records dropped", losses.drops.length ? (losses.drops.length === 1 ? "once, see below" : `${count(losses.drops.length)} times, see below`) : "never",
      losses.drops.length ? "bad" : "good", "ticks that were received and never reached Kafka"],
  ]);
  gaps(running);
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
  if (view) { lost(); show(listed); }
}

export function start() {
  choice.addEventListener("change", () => { if (view) choose(); });
}
