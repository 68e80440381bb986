// The page: one stream of snapshots, and panels that show them.

import { byId, plain } from "./dom.js";
import * as command from "./command.js";
import * as events from "./events.js";
import * as inspector from "./inspector.js";
import * as members from "./members.js";
import * as panels from "./panels.js";

const LATE_MS = 5000;
const AGAIN_MS = 5000;
let heard = 0, nowMs = Date.now(), source = null;

function live(state, words) {
  const node = byId("live");
  if (node.dataset.state !== state) node.dataset.state = state;
  plain(node, words);
}

function open() {
  source = new EventSource("page/stream");
  source.addEventListener("history", (event) => panels.begin(JSON.parse(event.data)));
  source.addEventListener("snapshot", (event) => {
    const snapshot = JSON.parse(event.data);
    heard = performance.now();
    nowMs = snapshot.now_ms;
    live("live", "live");
    panels.header(snapshot);
    panels.verdict(snapshot);
    panels.slots(snapshot);
    panels.accounting(snapshot);
    panels.exchanges(snapshot);
    panels.producer(snapshot);
    panels.unresolved(snapshot);
    members.silent(snapshot);
    events.renew(snapshot);
    command.enable(snapshot.commands);
  });
  source.addEventListener("view", (event) => {
    const view = JSON.parse(event.data);
    panels.view(view, nowMs);
    events.take(view);
    members.renew(view);
  });
  source.addEventListener("error", () => {
    live("lost", "no answer, trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(open, AGAIN_MS);
  });
}

setInterval(() => {
  const late = performance.now() - heard;
  if (heard && late > LATE_MS && byId("live").dataset.state === "live") {
    live("wait", `nothing heard for ${Math.round(late / 1000)} s`);
  }
}, 1000);

inspector.start();
members.start();
events.start();
command.start();
open();
