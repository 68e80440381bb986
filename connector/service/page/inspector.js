// The instrument: a search, and what is known of the one that was chosen, asked once a second.

import { age, byId, cells, count, fill, level, lines, make, pairs, plain, row, text, time } from "./dom.js";

const SEARCH_MS = 200;
const LOOK_MS = 1000;
const TRIES = 10;
const NARROW = 680;
const PRICES = new Map();

const search = byId("search"), found = byId("found");
let results = [], chosen = -1, token = null, searching = 0, looking = 0, asked = 0, searched = "";
// the instrument whose card is shown
let named = "";
// said of a search that found nothing, while the instrument before it is still shown
let nothing = "";

function price(value, exchange) {
  if (value === null || value === undefined) return "–";
  const digits = exchange === "CDS" || exchange === "BCD" ? 4 : 2;
  if (!PRICES.has(digits)) {
    PRICES.set(digits, new Intl.NumberFormat("en-IN", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return PRICES.get(digits).format(value);
}

// The server rests between questions, of all viewers together: it says for how long.
export async function ask(path) {
  for (let tries = 1; ; tries += 1) {
    const answer = await fetch(path, { cache: "no-store" });
    const document = await answer.json();
    if (answer.ok) return document;
    if (answer.status !== 429 || tries === TRIES) throw new Error(document.error ?? `HTTP ${answer.status}`);
    await new Promise((resolve) => { setTimeout(resolve, document.retry_ms); });
  }
}

// Whether what stands there was answered, and nothing else was searched for meanwhile.
async function find() {
  const wanted = search.value.trim(), number = ++asked;
  nothing = "";
  if (!wanted) { searched = ""; show([]); plain(byId("search-note"), ""); return true; }
  try {
    const document = await ask(`page/instruments?q=${encodeURIComponent(wanted)}`);
    if (number !== asked) return false;
    searched = wanted;
    show(document.found);
    if (!document.found.length) {
      nothing = "Nothing subscribed has this in its name or token; write EXCHANGE:SYMBOL to look into today's list.";
    }
    plain(byId("search-note"), nothing);
    return true;
  } catch (error) {
    if (number === asked) plain(byId("search-note"), error.message);
    return false;
  }
}

function show(list) {
  results = list;
  chosen = list.length ? 0 : -1;
  found.hidden = !list.length;
  search.setAttribute("aria-expanded", String(Boolean(list.length)));
  fill(found, list, () => {
    const li = make("li");
    li.setAttribute("role", "option");
    li.append(make("span"), make("span", "note"));
    return li;
  }, (li, one) => {
    text(li.firstChild, one.symbol ?? one.token);
    plain(li.lastChild, one.slot === null ? "not subscribed" : `${one.token}, slot ${one.slot}, ${one.mode}`);
  });
  [...found.children].forEach((li, place) => { li.id = `found-${place}`; });
  mark();
}

function mark() {
  [...found.children].forEach((li, place) => li.setAttribute("aria-selected", String(place === chosen)));
  if (chosen >= 0) {
    search.setAttribute("aria-activedescendant", `found-${chosen}`);
    found.children[chosen].scrollIntoView({ block: "nearest" });
  } else {
    search.removeAttribute("aria-activedescendant");
  }
}

function choose(place) {
  if (results[place]) inspect(results[place]);
}

export function inspect(one) {
  const before = token;
  token = one.token;
  named = one.symbol ?? String(one.token);
  nothing = "";
  asked += 1; // what a search before it finds is not shown any more
  search.value = one.symbol ?? String(one.token);
  show([]);
  clearTimeout(looking);
  // the card of another is none of this one
  if (before !== token) byId("instrument").hidden = true;
  outdated();
  search.scrollIntoView({ block: "nearest" });
  look().then(() => {
    if (token === one.token && innerWidth <= NARROW) byId("instrument").scrollIntoView({ block: "start" });
  });
}

async function look() {
  if (token === null) return;
  const wanted = token;
  if (!document.hidden) {
    try {
      const one = await ask(`page/instrument?token=${wanted}`);
      if (wanted === token) tell(one);
    } catch (error) {
      if (wanted === token) plain(byId("search-note"), error.message);
    }
  }
  if (wanted === token) looking = setTimeout(look, LOOK_MS);
}

function changed(by, nowMs) {
  return by ? `, ${by.by ? `by ${by.by}, ` : ""}${time(by.time_ms, nowMs)} (${by.type})` : "";
}

// While something else is searched, or was not found, the card is not the answer.
function outdated() {
  const wanted = search.value.trim().toUpperCase();
  const other = token !== null && wanted !== "" && wanted !== named.toUpperCase() && wanted !== String(token);
  const node = byId("instrument");
  node.classList.toggle("outdated", other);
  plain(byId("outdated"), other ? `Not what is searched: still ${named}.` : "");
}

function tell(one) {
  const tick = one.tick ?? {}, nowMs = Date.now();
  byId("instrument").hidden = false;
  plain(byId("search-note"), one.loaded ? nothing : "kite.subscriptions is still being read.");
  named = one.symbol ?? String(one.token);
  text(byId("instrument-name"), named);
  outdated();
  text(byId("price"), price(tick.last_price, one.exchange));
  const change = tick.change;
  plain(byId("change"), change === null || change === undefined ? "" : `${change >= 0 ? "+" : ""}${change.toFixed(2)} %`);
  level(byId("change"), !change ? null : change > 0 ? "good" : "bad");

  const why = byId("why"), fresh = one.age_seconds !== null && one.age_seconds !== undefined;
  const reasons = [...one.reasons];
  const elsewhere = one.slot !== undefined && !one.here;
  if (elsewhere) {
    reasons.push(`Its ticks are in ${one.owner ?? "another replica"}: the page there shows them, this one does not.`);
  } else if (!reasons.length && !fresh) {
    reasons.push(`No tick in the ${age(one.watched_seconds)} since you look.`);
  }
  reasons.push(...one.remarks);
  why.hidden = !reasons.length;
  plain(why.firstElementChild, elsewhere ? "What is known of it here" : fresh ? "Worth knowing" : "Why has it no ticks?");
  lines(byId("reasons"), reasons);

  const claims = Object.entries(one.claims ?? {});
  pairs(byId("facts"), [
    ["token", one.token],
    ["exchange", one.exchange],
    ["subscribed by", claims.length ? claims.map(([name, mode]) => `${name} (${mode})`).join(", ") : "nobody"],
    ["mode", one.mode],
    ["slot", one.slot === undefined ? null : `${one.slot}${one.owner ? `, ${one.owner}` : ""}${one.here ? " (here)" : ""}`],
    ["changed in revision", one.revision === undefined ? null : `${one.revision}${changed(one.changed_by, nowMs)}`],
    ["last trading day", one.expiry],
    ["ticks since you look", one.here ? `${count(one.packets)} in ${age(one.watched_seconds)}` : null],
    ["newest", one.here && fresh ? `${age(one.age_seconds)} ago` : null],
  ]);
  const ohlc = tick.ohlc ?? {};
  const money = (value) => price(value, one.exchange);
  pairs(byId("values"), one.tick ? [
    ["open", money(ohlc.open)], ["high", money(ohlc.high)], ["low", money(ohlc.low)], ["close", money(ohlc.close)],
    ["volume", count(tick.volume_traded)], ["average price", money(tick.average_traded_price)],
    ["last quantity", count(tick.last_traded_quantity)],
    ["to buy / to sell", `${count(tick.total_buy_quantity)} / ${count(tick.total_sell_quantity)}`],
    ["open interest", count(tick.oi)],
    ["last trade", time(tick.last_trade_ms, nowMs)], ["exchange time", time(tick.exchange_ms, nowMs)],
  ] : []);
  const { depth } = tick;
  byId("book").hidden = !depth;
  fill(byId("levels"), depth ? depth.buy.map((buy, place) => [buy, depth.sell[place]]) : [],
    () => row("num", "num", "num", "num", "num", "num"),
    (tr, [buy, sell]) => cells(tr, [count(buy.orders), count(buy.quantity), money(buy.price), money(sell?.price), count(sell?.quantity), count(sell?.orders)]));
}

export function start() {
  search.addEventListener("input", () => {
    clearTimeout(searching);
    outdated();
    searching = setTimeout(find, SEARCH_MS);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!results.length) return;
      event.preventDefault();
      chosen = (chosen + (event.key === "ArrowDown" ? 1 : results.length - 1)) % results.length;
      mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      clearTimeout(searching);
      // what stands there may not have been searched for, or not be answered yet
      if (search.value.trim() === searched) choose(chosen);
      else find().then((answered) => { if (answered) choose(chosen); });
    } else if (event.key === "Escape") {
      show([]);
    }
  });
  search.addEventListener("blur", () => setTimeout(() => show([]), 150));
  found.addEventListener("mousedown", (event) => {
    const li = event.target.closest("li");
    if (!li) return;
    event.preventDefault();
    choose([...found.children].indexOf(li));
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    search.focus();
    search.select();
  });
}
