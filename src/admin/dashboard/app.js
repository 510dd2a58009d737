// The status page: asks the node it came from every two seconds, and offers weight, state and rollback.

import { at, call, load, login } from "./api.js";
import { drawSparkline, observe, ofBackend, ofPool, sparkline } from "./series.js";
import { count, diffElements, element, fill, healthCell, isTaking, isUsed, keyed, lockCells, millis, nodeCells, perSecond, routeCells, row } from "./view.js";

const $ = (id) => document.getElementById(id);
const filter = $("filter");
let latest = null;

function notice(error) {
  $("notice").hidden = !error;
  $("notice").textContent = error ? String(error.message ?? error) : "";
}

async function act(work) {
  try {
    await work();
    notice(null);
    await refresh();
  } catch (error) {
    notice(error);
  }
}

window.addEventListener("unauthorized", () => {
  $("login").hidden = false;
});
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  login($("token").value.trim());
  $("token").value = "";
  $("login").hidden = true;
  act(() => {});
});

const wanted = (...texts) => {
  const needle = filter.value.trim().toLowerCase();
  return needle === "" || texts.some((text) => String(text).toLowerCase().includes(needle));
};

function createBackend(pool, backend) {
  const path = `/v1/pools/${at(pool)}/backends/${at(backend.id)}`;
  const tr = row(9)();
  const weight = element("input", { type: "number", min: 0, max: 65535, ariaLabel: `weight of ${pool}/${backend.id}` });
  weight.addEventListener("change", () => act(() => call("PATCH", path, { weight: weight.valueAsNumber })));
  const state = element("select", { ariaLabel: `state of ${pool}/${backend.id}` },
    ...["ready", "drain", "maint"].map((name) => element("option", { textContent: name, value: name })));
  state.addEventListener("change", () => act(() => call("POST", `${path}/${state.value}`)));
  tr.children[2].append(weight);
  tr.children[3].append(state);
  for (const cell of [tr.children[6], tr.children[7]]) {
    cell.className = "n";
    cell.append(sparkline(), element("span"));
  }
  return tr;
}

function updateSeries(cell, text, values) {
  drawSparkline(cell.querySelector("svg"), values);
  cell.querySelector("span").textContent = text;
}

function updateBackend(tr, pool, backend) {
  const status = backend.status ?? {};
  const [weight, state] = [tr.querySelector("input"), tr.querySelector("select")];
  if (document.activeElement !== weight) weight.value = backend.weight ?? 1;
  if (document.activeElement !== state) state.value = backend.state ?? "ready";
  const now = ofBackend(pool, backend);
  const cells = [...tr.children].filter((_, index) => ![2, 3, 6, 7].includes(index));
  fill({ children: cells }, [backend.id, backend.address,
    healthCell(status),
    [count(status.in_flight), "n"], [millis(now.p99), "n"]]);
  updateSeries(tr.children[6], perSecond(now.rate), now.rates);
  updateSeries(tr.children[7], millis(now.mean), now.means);
  tr.children[6].title = `${count(status.requests)} requests, ${count(status.errors)} failed tries since this node has started`;
}

function createPool() {
  const head = element("tr", {}, ...["Backend", "Address", "Weight", "State", "Now"].map((text) => element("th", { textContent: text })),
    ...["In flight", "Rate", "Latency", "p99"].map((text) => element("th", { textContent: text, className: "n" })));
  return element("details", { open: latest.pools.items.length <= 10 },
    element("summary", {}, element("b"), element("span"), element("span", { className: "faint" }), element("span", { className: "rate" }, sparkline(), element("span"))),
    element("div", { className: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody"))));
}

function updatePool(details, { spec, status }) {
  const seen = new Map((status?.backends ?? []).map((backend) => [backend.id, backend]));
  const all = (spec.backends ?? []).map((backend) => ({ ...backend, status: seen.get(backend.id) }));
  const panics = status?.panic === true;
  const taking = all.filter((backend) => isTaking(backend.status ?? {})).length;
  const [name, health, kind, rate] = details.querySelector("summary").children;
  name.textContent = spec.name;
  health.textContent = `${taking} of ${all.length} backends take traffic${panics ? ", in panic: those that are down too" : ""}`;
  health.className = panics ? "bad" : taking === all.length && taking > 0 ? "good" : taking === 0 ? "bad" : "warn";
  kind.textContent = spec.balance ?? "round_robin";
  const now = ofPool(spec.name);
  updateSeries(rate, perSecond(now.rate), now.rates);
  const shown = all.filter((backend) => wanted(spec.name, backend.id, backend.address));
  keyed(details.querySelector("tbody"), shown, (backend) => backend.id, (backend) => createBackend(spec.name, backend),
    (tr, backend) => updateBackend(tr, spec.name, backend));
}

function createRevision(entry) {
  const tr = row(6)();
  const diff = element("button", { textContent: "Diff" });
  diff.addEventListener("click", () => act(async () => {
    const answer = await call("GET", `/v1/revisions/${entry.revision}/diff?consistency=local`);
    $("diff-title").textContent = `What revision ${entry.revision} changed`;
    $("diff-body").replaceChildren(...diffElements(answer.items));
    $("diff").showModal();
  }));
  const back = element("button", { textContent: "Roll back to this" });
  back.addEventListener("click", () => {
    if (confirm(`Make a new revision with the content of revision ${entry.revision}?`)) {
      act(() => call("POST", "/v1/rollback", { revision: entry.revision }));
    }
  });
  tr.children[5].append(diff, " ", back);
  return tr;
}

function updateRevision(tr, entry) {
  const time = entry.time ? new Date(entry.time).toLocaleString() : "";
  tr.children[5].lastChild.hidden = entry.revision === latest.revisions.revision;
  fill(tr, [[entry.revision, "n"], time, entry.author, entry.comment, String(entry.digest ?? "").slice(0, 8)]);
}

function draw() {
  if (!latest) return;
  const { nodes, pools, routes, revisions, locks, sessions } = latest;
  const leader = nodes.items.find((node) => node.role === "leader");
  const trouble = leader ? nodes.no_writes : "no leader";
  const standing = trouble ? `no writes, traffic flows: ${trouble}` : `${leader.name} leads`;
  $("summary").textContent = `${standing}, ${nodes.items.length} ${nodes.items.length === 1 ? "node" : "nodes"}, revision ${count(revisions.revision)}`;
  $("summary").className = trouble ? "bad" : "";
  keyed($("nodes"), nodes.items, (node) => String(node.id), row(7), (tr, node) => fill(tr, nodeCells(node)));
  const shown = pools.items.filter(({ spec }) => wanted(spec.name, ...(spec.backends ?? []).flatMap((b) => [b.id, b.address])));
  $("more").hidden = !pools.next && !routes.next && !locks.next;
  keyed($("pools"), shown, ({ spec }) => spec.name, createPool, updatePool);
  keyed($("routes"), routes.items.filter(({ spec }) => wanted(spec.name, ...(spec.match?.hosts ?? []), ...(spec.to ?? []).map((t) => t.pool), ...(spec.policies ?? []))),
    ({ spec }) => spec.name, row(6), (tr, route) => fill(tr, routeCells(route)));
  const used = locks.items.filter(isUsed);
  const owners = new Map(sessions.items.map((session) => [session.session, session.owner]));
  $("free").textContent = `${count(used.length)} held or waited for, ${count(locks.items.length - used.length)} free, ${count(sessions.items.length)} sessions`;
  const claimed = (lock) => [...lock.holders, ...lock.queue].flatMap((it) => [it.content, owners.get(it.session) ?? ""]);
  keyed($("locks"), used.filter((lock) => wanted(lock.name, ...claimed(lock))),
    (lock) => lock.name, row(6), (tr, lock) => fill(tr, lockCells(lock, owners)));
  keyed($("history"), revisions.items, (entry) => String(entry.revision), createRevision, updateRevision);
}

async function refresh() {
  latest = await load();
  observe(latest.pools.items, performance.now());
  draw();
}

async function poll() {
  try {
    if (!document.hidden) await refresh();
  } catch (error) {
    $("summary").textContent = `this node does not answer (${error.message})`;
    $("summary").className = "bad";
  }
  setTimeout(poll, 2000);
}

filter.addEventListener("input", draw);
poll();
