// Commands: tried first (dry_run), then applied as they were tried, if nothing changed meanwhile.

import { byId, count, level, lines, make, plain } from "./dom.js";

const FIELDS = {
  subscribe: ["watchlist", "instruments", "mode", "account"],
  unsubscribe: ["watchlist", "instruments"],
  "set-mode": ["watchlist", "instruments", "mode"],
  replace: ["watchlist", "instruments", "mode", "account"],
  "set-rule": ["watchlist", "rule", "claims", "mode", "account"],
  "delete-rule": ["watchlist", "rule"],
  "set-limits": ["watchlist", "quota", "priority"],
  delete: ["watchlist"],
  pause: ["connections"],
  stop: ["connections"],
  resume: ["connections"],
  reconnect: ["slot"],
  rebalance: [],
  "refresh-instruments": [],
};
const RULES = {
  "option-chain": ["underlying", "expiry", "strikes", "exchange", "spot"],
  pattern: ["pattern", "expiry", "kinds"],
  futures: ["exchange", "names", "expiry"],
};
const list = (text) => text.split(/[\n,]/).map((one) => one.trim()).filter(Boolean);
const READ = {
  slot: Number, strikes: Number, quota: Number, priority: Number, kinds: list, names: list,
  instruments: (text) => list(text).map((name) => (/^[0-9]+$/.test(name) ? Number(name) : name)),
};
const SHOWN = 100;
const form = byId("command"), apply = byId("command-apply"), attempt = byId("command-try");
let tried = null;

export function enable(enabled) {
  if (form.hidden === enabled) form.hidden = !enabled;
}

// What is asked for: the fields of the command, and those that one of its choices leads to.
function wanted() {
  const fields = [...FIELDS[byId("command-type").value]];
  if (fields.includes("claims")) fields.push(...RULES[byId("command-claims").value]);
  const which = byId("command-connections").value;
  if (fields.includes("connections") && which !== "all") fields.push(which);
  return fields;
}

function shown() {
  const fields = wanted();
  for (const label of form.querySelectorAll("[data-for]")) label.hidden = !fields.includes(label.dataset.for);
}

// What is written into fields; an empty one is left out, and has its default.
function read(fields) {
  const found = fields.map((name) => [name, byId(`command-${name}`).value.trim()]).filter(([, text]) => text);
  return Object.fromEntries(found.map(([name, text]) => [name, READ[name]?.(text) ?? text]));
}

function built() {
  const type = byId("command-type").value, made = { type, ...read(["by", ...wanted()]) };
  if (type === "replace") made.instruments ??= []; // none empties it
  if (made.connections) {
    if (made.connections === "all") made.all = true;
    delete made.connections;
  }
  if (made.claims) {
    const rule = { type: made.claims };
    for (const name of RULES[made.claims]) {
      if (name in made) rule[name] = made[name];
      delete made[name];
    }
    made.claims = rule;
  }
  return made;
}

async function send(body) {
  const answer = await fetch("page/command", {
    method: "POST",
    cache: "no-store",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${byId("operator-token").value}` },
    body: JSON.stringify(body),
  });
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.error ?? `HTTP ${answer.status}`);
  return document;
}

function tell(words, mark, reasons = []) {
  const node = byId("command-reply"), first = make("p", "note"), list = make("ul", "lines");
  plain(first, words);
  level(first, mark);
  lines(list, reasons);
  node.replaceChildren(first, list);
}

function told(reply, dry) {
  const { refused = [], displaced = [], matched = [] } = reply;
  const reasons = [
    ...(reply.errors ?? []),
    ...(reply.waits ? [reply.waits] : []),
    ...displaced.map((one) => `${one.watchlist} gives up ${count(one.instruments)} instruments`),
    ...refused.slice(0, SHOWN).map((one) => `${one.instrument}: ${one.reason}`),
  ];
  const words = `${dry ? "Tried, nothing changed" : reply.status === "APPLIED" ? "Done" : "Nothing changed"}: ${reply.status}, revision ${reply.revision}, `
    + `${count(reply.accepted ?? 0)} accepted, ${count(refused.length)} refused.`;
  const more = matched.length > SHOWN ? ` and ${count(matched.length - SHOWN)} more` : "";
  tell(words, reply.status === "APPLIED" ? (reasons.length ? "warn" : "good") : "bad",
    matched.length ? [...reasons, `The rule claims ${matched.slice(0, SHOWN).join(", ")}${more}`] : reasons);
}

async function run(body, dry) {
  attempt.disabled = apply.disabled = true;
  tell("Waiting for the leader's reply.");
  let answer = null;
  try {
    answer = await send(body);
    told(answer.reply, dry);
  } catch (error) {
    tell(error.message, "bad");
  } finally {
    attempt.disabled = false;
  }
  return answer;
}

export function start() {
  shown();
  byId("command-type").addEventListener("change", shown);
  form.addEventListener("input", (event) => {
    if (event.target.id === "operator-token") return;
    shown();
    tried = null;
    apply.disabled = true;
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = built();
    const answer = await run({ ...body, dry_run: true }, true);
    const applies = answer?.reply.status === "APPLIED";
    tried = applies ? { ...body, expected_revision: answer.expected_revision } : null;
    apply.disabled = tried === null;
  });
  apply.addEventListener("click", async () => {
    if (tried === null) return;
    const body = tried;
    tried = null;
    await run(body, false);
  });
}
