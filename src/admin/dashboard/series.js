// What happens now: rates and latencies between two looks at the counters of this node, and the last of them.

const KEPT = 60;
// After a longer pause, as of a page in the background, a line would hide it.
const PAUSE = 10_000;

// A rate over less is chance; a page that has just changed something looks again at once.
const SHORTEST = 1_000;

let looked = -Infinity;
let backends = new Map();
let pools = new Map();

const last = (values) => values.at(-1) ?? null;
const push = (values, value) => [...values, value].slice(-KEPT);

// Of [upper bound, hits], linear inside a bucket, as `synod top` has it; above the last bound there is only that to tell.
function quantile(buckets, q) {
  const wanted = Math.max(buckets.reduce((sum, [, hits]) => sum + hits, 0) * q, 1);
  let [below, lower] = [0, 0];
  for (const [upper, hits] of buckets) {
    if (hits > 0 && below + hits >= wanted) return upper === null ? lower : lower + ((upper - lower) * (wanted - below)) / hits;
    below += hits;
    lower = upper;
  }
  return null;
}

// Counters that went back are those of another start of the node.
function step(before, { requests, latency_ms }, now) {
  const sum = latency_ms?.sum ?? 0;
  const buckets = latency_ms?.buckets ?? [];
  const goes = before !== undefined && now - before.now < PAUSE && now > before.now && requests >= before.requests;
  const ended = goes ? requests - before.requests : null;
  const rate = goes ? ended / ((now - before.now) / 1000) : null;
  const mean = ended ? (sum - before.sum) / ended : null;
  const p99 = ended ? quantile(buckets.map(([upper, hits], index) => [upper, hits - (before.buckets[index]?.[1] ?? 0)]), 0.99) : null;
  return { now, requests, sum, buckets, p99, rates: push(goes ? before.rates : [], rate), means: push(goes ? before.means : [], mean) };
}

// To be called with each answer; what is in it no more is forgotten.
export function observe(items, now) {
  if (now - looked < SHORTEST) return;
  looked = now;
  const [ofBackends, ofPools] = [new Map(), new Map()];
  for (const { spec, status } of items) {
    let sum = null;
    for (const backend of status?.backends ?? []) {
      const key = `${spec.name}/${backend.id}/${backend.address}`;
      const series = step(backends.get(key), backend, now);
      ofBackends.set(key, series);
      const rate = last(series.rates);
      if (rate !== null) sum = (sum ?? 0) + rate;
    }
    ofPools.set(spec.name, push(sum === null ? [] : pools.get(spec.name) ?? [], sum));
  }
  [backends, pools] = [ofBackends, ofPools];
}

const NOTHING = { rates: [], means: [], p99: null };
export function ofBackend(pool, { id, address }) {
  const { rates, means, p99 } = backends.get(`${pool}/${id}/${address}`) ?? NOTHING;
  return { rate: last(rates), rates, mean: last(means), means, p99 };
}
export function ofPool(pool) {
  const rates = pools.get(pool) ?? [];
  return { rate: last(rates), rates };
}

const WIDTH = 60;
const HEIGHT = 14;

export function sparkline() {
  const svg = document.getElementById("sparkline").content.firstElementChild.cloneNode(true);
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  return svg;
}

// From zero to the greatest of what is shown; where nothing is known the line is broken.
export function drawSparkline(svg, values) {
  const most = Math.max(...values.filter((value) => value !== null), 0) || 1;
  const first = KEPT - values.length;
  let pen = "M";
  const line = values.map((value, index) => {
    if (value === null) {
      pen = "M";
      return "";
    }
    const x = ((first + index) * WIDTH) / (KEPT - 1);
    const y = HEIGHT - 1 - (value / most) * (HEIGHT - 2);
    const piece = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
    return piece;
  });
  svg.firstChild.setAttribute("d", line.join(""));
}
