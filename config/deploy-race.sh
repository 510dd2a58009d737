#!/usr/bin/env bash
# Two deploy scripts race for one lock; the one that loses it goes on unawares, and the load balancer refuses it.
#
#   config/deploy-race.sh [path of synod, default: synod]
#
# It runs a node of its own in a temporary directory, on ports 18080, 18081, 19900 and 19901, and needs python3 and curl.
set -euo pipefail

synod=${1:-synod}
for needed in "$synod" python3 curl; do
    command -v "$needed" >/dev/null || { echo "$needed is not there; this needs it" >&2; exit 1; }
done
home=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$home"' EXIT
export SYNOD_ADMIN=http://127.0.0.1:19900
url=http://127.0.0.1:18080

# What is deployed to: it only says that it was reached.
mkdir "$home/www" && echo "deployed" > "$home/www/index.html"
python3 -m http.server 18081 --bind 127.0.0.1 --directory "$home/www" >/dev/null 2>&1 &
"$synod" serve --data "$home/node" --listen 127.0.0.1:18080 --admin 127.0.0.1:19900 --peer 127.0.0.1:19901 >"$home/log" 2>&1 &
node=$!
until kill -0 "$node" 2>/dev/null && "$synod" get config >/dev/null 2>&1; do
    kill -0 "$node" 2>/dev/null || { cat "$home/log" >&2; exit 1; }
    sleep 0.1
done

cat > "$home/routes.yaml" <<'YAML'
pools: [{name: web, backends: [{id: b1, address: "127.0.0.1:18081"}]}]
routes: [{name: deploys, to: [{pool: web}], fence: {lock: deploy}}]
YAML
"$synod" apply -f "$home/routes.yaml" --until applied >/dev/null

# Each shows its token with every request; curl prints what the load balancer says.
deploy='echo $$ > '"$home"'/$NAME; echo "$NAME holds the lock, token $SYNOD_LOCK_TOKEN"; sleep "$SLEEP"
        echo "$NAME deploys: $(curl -s -w "%{http_code}" -H "Synod-Lock-Token: $SYNOD_LOCK_TOKEN" '"$url"'/ | tr "\n" " ")"'

NAME=first SLEEP=1 "$synod" lock deploy --lease 2s --lock-delay 0s -- bash -c "$deploy" & first=$!
until [ -s "$home/first" ]; do sleep 0.1; done
echo "first stands still for longer than its lease, as on a machine that swaps or migrates"
kill -STOP "$first" "$(cat "$home/first")"
NAME=second SLEEP=0 "$synod" lock deploy -- bash -c "$deploy"
echo "first goes on, and does not know yet"
kill -CONT "$(cat "$home/first")"
while kill -0 "$(cat "$home/first")" 2>/dev/null && ! grep -q Z "/proc/$(cat "$home/first")/stat"; do sleep 0.1; done
kill -CONT "$first"
wait "$first" || true
