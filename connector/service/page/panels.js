// Each panel is a function from a snapshot, or the view, to what stands in its nodes.

import { age, byId, bytes, cells, count, day, fill, level, lines, make, pairs, plain, row, short, text, time } from "./dom.js";
import { opener } from "./members.js";
import { Sparkline } from "./spark.js";

export const LATE_SECONDS = 10;
const BOOKS = [
  ["delivered", "delivered"], ["in_flight", "in flight"], ["spooled", "spooled"],
  ["dead_lettered", "dead letters"], ["dropped", "dropped"],
];
const sparks = new Map();

export function begin(history) {
  for (const [slot, points] of Object.entries(history)) spark(Number(slot)).begin(points);
}

function spark(slot) {
  if (!sparks.has(slot)) sparks.set(slot, new Sparkline());
  return sparks.get(slot);
}

// Why a slot is behind, or "" where it streams what it should.
export function behind(slot) {
  if (slot.halt) {
    const { how, by, since_ms } = slot.halt;
    return `${how}${by ? ` by ${by}` : ""} at ${time(since_ms)}, until the command resume`;
  }
  if (!slot.state) return slot.owner ? "its owner has said nothing yet" : "nobody has told of it: no owner?";
  if (slot.state !== "connected") return slot.trouble || slot.state.replaceAll("_", " ");
  if (slot.age_seconds !== null && slot.age_seconds > LATE_SECONDS) return `nothing received for ${age(slot.age_seconds)}`;
  if (slot.trouble && slot.confirmed < slot.desired) return slot.trouble;
  if (slot.confirmed !== null && slot.desired !== null && slot.confirmed < slot.desired) {
    return `${count(slot.desired - slot.confirmed)} of ${count(slot.desired)} instruments have sent no packet on this connection`;
  }
  return "";
}

export function header(snapshot) {
  const { status } = snapshot;
  text(byId("name"), status.name);
  document.title = `${status.ready ? "" : "! "}${status.name}`;
  text(byId("phase"), status.ready ? "ready" : `${status.phase}, not ready`);
  level(byId("phase"), status.ready ? "good" : "warn");
  text(byId("host"), snapshot.host);
  text(byId("leader"), status.cluster ? (snapshot.leader ?? "not told") : "no cluster");
  text(byId("revision"), status.cluster ? count(status.cluster.revision) : "–");
  text(byId("uptime"), age(status.uptime_seconds));
  text(byId("version"), `${status.version}, ${status.codec} codec`);
  text(byId("clock"), `${day(snapshot.now_ms)} ${time(snapshot.now_ms)}`);
}

export function verdict(snapshot) {
  const { status, slots } = snapshot;
  const late = slots.filter((slot) => behind(slot));
  const dropped = Object.values(status.accounting.dropped).reduce((sum, one) => sum + one, 0);
  const problems = [...status.not_ready];
  if (!status.accounting.balanced) problems.push("The accounting does not add up.");
  if (dropped) problems.push(`${count(dropped)} records were dropped since this replica began.`);
  const streaming = `${slots.length - late.length} of ${slots.length} slots stream what they should`;
  const worst = !status.accounting.balanced || dropped || !status.producer.broker_reachable ? "bad"
    : problems.length || late.length ? "warn" : "good";
  plain(byId("verdict-text"), worst === "good" ? `All is well: ${streaming}.`
    : late.length ? `${streaming}. Behind: slot ${late.map((slot) => slot.slot).join(", ")}.` : `${streaming}.`);
  level(byId("verdict"), worst);
  lines(byId("verdict-reasons"), problems);
}

export function slots(snapshot) {
  const own = new Map(snapshot.status.connections.map((one) => [one.slot, one]));
  for (const [slot, one] of own) {
    if (one.packets_last_second !== null) spark(slot).add(one.packets_last_second);
  }
  fill(byId("slots"), snapshot.slots, () => {
    const tr = row("", "", "", "num", "num", "", "num", "");
    tr.children[2].append(make("span", "tag"));
    return tr;
  }, (tr, slot) => {
    const why = behind(slot), [, owner, state, confirmed, rate, line, last, wrong] = tr.children;
    const mark = !why ? "good" : slot.halt || slot.state === "connected" || !slot.state ? "warn" : "bad";
    const incomplete = why && slot.state === "connected" ? "incomplete" : null;
    const state_words = slot.halt?.how ?? incomplete ?? slot.state?.replaceAll("_", " ") ?? "not told";
    text(tr.children[0], slot.slot);
    text(owner, slot.owner ? `${slot.owner}${slot.here ? " (here)" : ""}` : null);
    owner.title = `account ${slot.account}`;
    text(state.firstChild, state_words);
    level(state.firstChild, mark);
    level(tr, why ? mark : null);
    text(confirmed, `${count(slot.confirmed)} / ${count(slot.desired)}`);
    text(rate, count(slot.rate));
    const shown = own.has(slot.slot) ? spark(slot.slot).node : null;
    if (line.firstChild !== shown) line.replaceChildren(...(shown ? [shown] : []));
    text(last, age(slot.age_seconds));
    const one = own.get(slot.slot);
    const past = one && one.last_error && !why ? `before: ${one.last_error}` : "";
    plain(wrong, why || past);
  });
  for (const slot of sparks.keys()) {
    if (!snapshot.slots.some((one) => one.slot === slot)) sparks.delete(slot);
  }
  const rate = snapshot.slots.reduce((sum, slot) => sum + (slot.rate ?? 0), 0);
  const carried = snapshot.slots.reduce((sum, slot) => sum + (slot.desired ?? 0), 0);
  plain(byId("slots-note"), `${count(carried)} instruments, ${count(rate)} ticks a second over all slots`);
}

export function accounting(snapshot) {
  const books = snapshot.status.accounting;
  const dropped = Object.values(books.dropped).reduce((sum, one) => sum + one, 0);
  const values = { ...books, dropped };
  const terms = [["received", "received"], ...BOOKS];
  fill(byId("equation"), terms.flatMap((term, i) => (i ? [[null, i === 1 ? "=" : "+"], term] : [term])), () => {
    const node = make("div");
    node.append(make("b"), make("span"));
    return node;
  }, (node, [kind, label]) => {
    node.className = kind ? "term" : "sign";
    if (!kind) { plain(node.firstChild, ""); plain(node.lastChild, label); return; }
    node.dataset.kind = kind;
    text(node.firstChild, count(values[kind]));
    plain(node.lastChild, label);
    level(node, kind === "dropped" && dropped ? "bad" : kind === "spooled" && books.spooled ? "warn" : null);
  });
  fill(byId("balance-bar"), BOOKS, () => make("span"), (span, [kind]) => {
    span.dataset.kind = kind;
    span.style.flexGrow = String(values[kind]);
  });
  plain(byId("balanced"), books.balanced ? "adds up, of this replica since its start" : "does not add up");
  level(byId("balanced"), books.balanced ? "good" : "bad");
  const why = Object.entries(books.dropped).filter(([, n]) => n).map(([reason, n]) => `${reason.replaceAll("_", " ")} ${count(n)}`);
  plain(byId("dropped-reasons"), why.length ? `dropped: ${why.join(", ")}` : "");
}

export function exchanges(snapshot) {
  const open = snapshot.status.market_open;
  const shown = snapshot.status.exchanges.filter((one) => one.ticks || open[one.exchange]);
  fill(byId("exchanges"), shown, () => row("", "", "num", "num"), (tr, one) => {
    cells(tr, [one.exchange, open[one.exchange] ? "open" : "closed", count(one.ticks_per_second), count(one.ticks)]);
  });
}

// JSON has no infinity: a quantile above the last bound is null, although something was measured.
function within(latency, quantile = "p99_below") {
  return latency[quantile] === null && latency.count ? "∞" : short(latency[quantile]);
}

export function producer(snapshot) {
  const { producer: kafka, latency_seconds: late } = snapshot.status;
  plain(byId("kafka-note"), kafka.bootstrap_servers);
  const used = kafka.spool_limit_bytes ? kafka.spool_bytes / kafka.spool_limit_bytes : 0;
  pairs(byId("producer"), [
    ["brokers", kafka.broker_reachable ? "reachable" : "not reachable", kafka.broker_reachable ? "good" : "bad"],
    ["acknowledged within", `${within(late.produce_to_ack, "p50_below")}, p99 ${within(late.produce_to_ack)}`],
    ["exchange to socket", `p99 ${within(late.exchange_to_receive)}`],
    ["socket to producer", `p99 ${within(late.receive_to_produce)}`],
    ["queued", `${count(kafka.queued)}, peak ${count(kafka.queue_peak)}`],
    ["spooled", `${count(kafka.spooled)} records`, kafka.spooled ? "warn" : null],
    ["spool", `${bytes(kafka.spool_bytes)} of ${bytes(kafka.spool_limit_bytes)}`, used > 0.5 ? "bad" : null],
    ["held back by quotas", age(kafka.throttled_seconds)],
  ]);
  const meter = byId("spool-meter");
  meter.setAttribute("aria-valuenow", String(Math.round(used * 100)));
  meter.firstElementChild.style.width = `${Math.min(100, used * 100)}%`;
  lines(byId("troubles"), [
    ...Object.entries(kafka.troubles).map(([topic, reason]) => `${topic}: ${reason}`),
    ...(kafka.spool_problem ? [`spool: ${kafka.spool_problem}`] : []),
    ...(kafka.last_error ? [`last error: ${kafka.last_error}`] : []),
  ]);
}

export function unresolved(snapshot) {
  const { unresolved: names, unresolved_count: all } = snapshot.status;
  plain(byId("unresolved-note"), all ? `${count(all)} instruments of the settings have no connection:` : "");
  lines(byId("unresolved"), names.slice(0, 10));
}

export function view(shown, nowMs) {
  const read = shown.loaded || !shown.clustered;
  plain(byId("watchlists-note"), !read ? "reading kite.subscriptions" : `${count(shown.watchlist_count)} watchlists`);
  fill(byId("watchlists"), shown.watchlists, () => {
    const tr = row("", "num", "num", "num");
    opener(tr.firstElementChild);
    return tr;
  }, (tr, one) => {
    const [name, ltp, quote, full] = tr.children;
    text(name.firstChild, one.name);
    plain(name.lastChild, one.rule ? ` ${one.rule}${one.problem ? ` (${one.problem})` : ""}` : "");
    [ltp, quote, full].forEach((td, place) => text(td, count([one.ltp, one.quote, one.full][place])));
  });

  plain(byId("commands-note"), shown.clustered ? "newest first" : "without a cluster there are none: the settings say what is subscribed");
  fill(byId("commands"), shown.commands, () => row("", "", "", "", ""), (tr, command) => {
    const { reply } = command;
    cells(tr, [time(command.time_ms, nowMs), command.by, `${command.type}${command.dry_run ? " (dry run)" : ""}`, command.detail, reply
      ? `${reply.status}, revision ${reply.revision}, ${count(reply.accepted)} accepted${reply.refused ? `, ${count(reply.refused)} refused` : ""}${reply.reasons.length ? `: ${reply.reasons.join("; ")}` : ""}`
      : command.dry_run ? "tried, nothing changed: answered to whoever asked" : "no reply yet"]);
  });
}
