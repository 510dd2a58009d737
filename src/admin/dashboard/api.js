// Calls of the admin API, and what a refusal says in one text.

// Kept for this tab alone, and no longer than it is open.
const TOKEN = "synod-token";
export const login = (token) => sessionStorage.setItem(TOKEN, token);

export async function call(method, path, body) {
  const request = { method, headers: { accept: "application/json" }, cache: "no-store" };
  if (body !== undefined) {
    request.headers["content-type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  if (method !== "GET") request.headers["synod-comment"] = "from the dashboard";
  const token = sessionStorage.getItem(TOKEN);
  if (token) request.headers.authorization = `Bearer ${token}`;
  const response = await fetch(path, request);
  const answer = await response.json();
  if (response.status === 401) window.dispatchEvent(new Event("unauthorized"));
  if (!response.ok) throw new Error(refusal(answer));
  return answer;
}

function refusal(problem) {
  const faults = (problem.faults ?? []).map((fault) => `\n${fault.pointer}: ${fault.detail}`);
  return `${problem.title}: ${problem.detail}${faults.length > 1 ? faults.join("") : ""}`;
}

// Reads are of this node, without a quorum: the page shows what is known when the group cannot agree too.
export async function load() {
  const local = "consistency=local";
  const [nodes, pools, routes, revisions, locks, sessions] = await Promise.all([
    call("GET", "/v1/nodes"),
    call("GET", `/v1/pools?${local}`),
    call("GET", `/v1/routes?${local}`),
    call("GET", `/v1/revisions?limit=30&${local}`),
    call("GET", `/v1/locks?${local}`),
    call("GET", `/v1/sessions?${local}`),
  ]);
  return { nodes, pools, routes, revisions, locks, sessions };
}

export const at = (...names) => names.map(encodeURIComponent).join("/");
