// From answers of the API to elements. Rows are kept by key between refreshes, so that focus, open pools and
// half-typed weights survive; text is only ever set as text.

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Makes the children of `parent` those of `items`, in order, reusing what has the same key.
export function keyed(parent, items, key, create, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const name = key(item);
    const child = old.get(name) ?? create(item);
    child.dataset.key = name;
    old.delete(name);
    update(child, item);
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  for (const gone of old.values()) gone.remove();
}

export const row = (count) => () => {
  const tr = element("tr");
  for (let i = 0; i < count; i++) tr.append(element("td"));
  return tr;
};

export function fill(tr, values) {
  values.forEach((value, index) => {
    const [text, style] = Array.isArray(value) ? value : [value, ""];
    const cell = tr.children[index];
    if (cell.textContent !== String(text ?? "")) cell.textContent = text ?? "";
    cell.className = style;
  });
}

export const count = (number) => (number === null || number === undefined ? "" : number.toLocaleString());
export const perSecond = (number) => (number === null ? "" : `${number < 10 ? number.toFixed(1) : count(Math.round(number))}/s`);
export const millis = (number) => (number === null || number === undefined ? "" : `${number.toFixed(1)} ms`);

export function nodeCells(node) {
  const state = node.failed ? [`failed: ${node.failed}`, "bad"]
    : node.rejected ? [`rejected: ${node.rejected}`, "bad"]
    : node.reachable === false ? ["unreachable", "bad"]
    : node.state && node.state !== "running" ? [node.state, "bad"]
    : node.lag > 0 ? ["behind", "warn"] : ["serving", "good"];
  const heard = node.heard_ms === null || node.heard_ms === undefined ? (node.reachable === false ? "never" : "this node") : `${(node.heard_ms / 1000).toFixed(1)} s ago`;
  const starting = (node.state ?? "").startsWith("starting");
  const served = starting ? [["", "n"], ["", "n"], ""]
    : [[count(node.applied), "n"], [count(node.lag), "n"], (node.digest ?? "").slice(0, 8)];
  return [node.name, [node.role, node.role === "leader" ? "good" : ""], ...served, heard, state];
}

// Whether a backend gets requests: in panic one that is down does too, and where none is up one that is unknown.
export const isTaking = ({ available }) => available === true;

export function healthCell(status) {
  const why = status.health_reason ? `: ${status.health_reason}` : "";
  const health = status.health === "unchecked" || status.health === undefined ? "" : `${status.health}${why}`;
  const taking = isTaking(status);
  const text = [health, taking ? "takes traffic" : "takes none"].filter((part) => part !== "").join(", ");
  return [text, status.health === "down" || status.health === "ejected" ? "bad" : taking ? "good" : "warn"];
}

export function routeCells({ spec, status }) {
  const path = spec.match?.path ?? {};
  return [spec.name, (spec.match?.hosts ?? []).join(", ") || "any",
    path.exact !== undefined ? `= ${path.exact}` : path.regex !== undefined ? `~ ${path.regex}` : `${path.prefix ?? "/"} …`,
    spec.respond !== undefined && spec.redirect === undefined ? `answers ${spec.respond.status ?? 200}`
      : (spec.to ?? []).map((target) => `${target.pool} ${target.weight ?? 1}`).join(", ") || "redirected",
    (spec.policies ?? []).join(", "), [count(status?.requests), "n"]];
}

// A lock that nobody holds, waits for or is kept from is only remembered.
export const isUsed = (lock) => lock.holders.length > 0 || lock.queue.length > 0 || lock.delay !== null;

// Who has or wants it, and why. What somebody writes there must not push the rest out of sight.
const SHOWN = 3;
const LETTERS = 60;
const claimText = (claim, owners) => {
  const who = owners.get(claim.session);
  const content = claim.content.length > LETTERS ? `${claim.content.slice(0, LETTERS)}…` : claim.content;
  return `session ${claim.session}${who ? ` of ${who}` : ""}${content ? `: ${content}` : ""}`;
};
const claimsText = (claims, owners) => {
  const more = claims.length - SHOWN;
  const texts = claims.slice(0, SHOWN).map((claim) => claimText(claim, owners));
  return [...texts, ...(more > 0 ? [`and ${count(more)} more`] : [])].join("; ");
};

export function lockCells(lock, owners) {
  const [holder] = lock.holders;
  const kept = lock.delay ? "kept back after its holder failed" : "nobody";
  return [[lock.name, "long"], [claimsText(lock.holders, owners) || kept, `long ${holder ? "good" : "warn"}`],
    holder ? holder.mode : "", [String(lock.newest), "n"],
    holder?.since ? new Date(holder.since).toLocaleString() : "",
    [claimsText(lock.queue, owners), "long"]];
}

export function diffElements(changes) {
  if (changes.length === 0) return [element("p", { textContent: "No difference." })];
  return changes.flatMap(({ path, before, after }) => [
    element("h3", {}, element("code", { textContent: path })),
    element("p", { className: "faint", textContent: before === null ? "added" : after === null ? "removed" : "changed from" }),
    ...(before === null ? [] : [element("pre", { textContent: JSON.stringify(before, null, 2) })]),
    ...(before === null || after === null ? [] : [element("p", { className: "faint", textContent: "to" })]),
    ...(after === null ? [] : [element("pre", { textContent: JSON.stringify(after, null, 2) })]),
  ]);
}
