// Commands: tried first (dry_run), then applied as they were tried, if nothing changed meanwhile.

import { byId, count, level, lines, make, plain } from "./dom.js";

const FIELDS = {
  subscribe: ["watchlist", "instruments", "mode"],
  unsubscribe: ["watchlist", "instruments"],
  "set-mode": ["watchlist", "instruments", "mode"],
  replace: ["watchlist", "instruments", "mode"],
  delete: ["watchlist"],
  reconnect: ["slot"],
  rebalance: [],
  "refresh-instruments": [],
};
const form = byId("command"), apply = byId("command-apply"), attempt = byId("command-try");
let tried = null;

export function enable(enabled) {
  if (form.hidden === enabled) form.hidden = !enabled;
}

function shown() {
  const wanted = FIELDS[byId("command-type").value];
  for (const label of form.querySelectorAll("[data-for]")) label.hidden = !wanted.includes(label.dataset.for);
}

function built() {
  const type = byId("command-type").value, wanted = FIELDS[type], made = { type };
  const by = byId("command-by").value.trim();
  if (by) made.by = by;
  if (wanted.includes("watchlist")) made.watchlist = byId("command-watchlist").value.trim();
  if (wanted.includes("mode")) made.mode = byId("command-mode").value;
  if (wanted.includes("slot")) made.slot = Number(byId("command-slot").value);
  if (wanted.includes("instruments")) {
    const names = byId("command-instruments").value.split(/[\n,]/).map((name) => name.trim()).filter(Boolean);
    if (names.length || type !== "set-mode") {
      made.instruments = names.map((name) => (/^[0-9]+$/.test(name) ? Number(name) : name));
    }
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
  const reasons = [
    ...(reply.errors ?? []),
    ...(reply.refused ?? []).slice(0, 50).map((one) => `${one.instrument}: ${one.reason}`),
  ];
  const words = `${dry ? "Tried, nothing changed" : reply.status === "APPLIED" ? "Done" : "Nothing changed"}: ${reply.status}, revision ${reply.revision}, `
    + `${count(reply.accepted ?? 0)} accepted, ${count((reply.refused ?? []).length)} refused.`;
  tell(words, reply.status === "APPLIED" ? (reasons.length ? "warn" : "good") : "bad", reasons);
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
