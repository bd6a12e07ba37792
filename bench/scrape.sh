#!/usr/bin/env bash
# Measures scrapes of the exporter beside nginx serving the same bytes as a static file: throughput, latency, CPU, memory.
#
# usage: bench/scrape.sh [EXPORTER]
#
# The two take turns, so what slows the machine slows both; shown are medians, and the median of the ratios. nginx has
# one worker, no access log, sendfile, and its defaults else. CPU is what the kernel charges the process, per request.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin

exporter=${1:-.build/bin/streamvault-exporter}
bench=.build/release/PublisherBench
rounds=${ROUNDS:-7}
seconds=2

work=$(mktemp -d -p /dev/shm)
processes=()
end() {
    local process
    for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap end EXIT

fail() {
    echo "scrape: $1" >&2
    exit 1
}

# Waits until a command succeeds, for ten seconds at most and while the last process lives.
await() {
    local what=$1 tries
    shift
    for ((tries = 0; tries < 200; tries++)); do
        if "$@" >/dev/null 2>&1; then return; fi
        kill -0 "${processes[-1]}" 2>/dev/null || break
        sleep 0.05
    done
    fail "no $what: $(cat "$work"/*.log)"
}

free_port() {
    local port
    while port=$((RANDOM % 20000 + 20000)) && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

start_exporter() {
    mkdir "$work/telemetry"
    "$bench" stop "$work/telemetry"
    "$bench" serve "$work/telemetry" >"$work/fixture.log" 2>&1 &
    processes+=($!)
    await "running recorder" grep -q running "$work/fixture.log"
    local port
    port=$(free_port)
    "$exporter" --telemetry-dir "$work/telemetry" --web.listen-address "127.0.0.1:$port" \
        >"$work/exporter.log" 2>&1 &
    exporter_process=$!
    processes+=("$exporter_process")
    exporter_url=http://127.0.0.1:$port/metrics
    await "answer from $exporter" curl -fsS "$exporter_url"
}

# Serves what the exporter has just answered, under the same Content-Type.
start_nginx() {
    local port type master
    port=$(free_port)
    mkdir "$work/static"
    type=$(curl -fsS -o "$work/static/metrics" -w '%{content_type}' "$exporter_url")
    chmod 755 "$work"
    cat >"$work/nginx.conf" <<CONF
worker_processes 1;
pid $work/nginx.pid;
error_log $work/nginx.log;
events {}
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path $work/body;
    proxy_temp_path $work/proxy;
    fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi;
    scgi_temp_path $work/scgi;
    server {
        listen 127.0.0.1:$port;
        root $work/static;
        types {}
        default_type "$type";
    }
}
CONF
    nginx -c "$work/nginx.conf" -e "$work/nginx.log" -g 'daemon off;' &
    master=$!
    processes+=("$master")
    nginx_url=http://127.0.0.1:$port/metrics
    await "answer from nginx" curl -fsS "$nginx_url"
    read -r nginx_process <"/proc/$master/task/$master/children" || true # no newline there
    curl -fsS "$nginx_url" | cmp -s - "$work/static/metrics" || fail "nginx does not serve the same bytes"
}

# CPU that a process has used, in clock ticks: user and system time, counted after the name, which may hold spaces.
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }

resident() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

# Loads one server and prints: connections, requests per second, microseconds at p50 and p99, CPU microseconds a request.
load() {
    local url=$1 process=$2 connections=$3 before after
    before=$(ticks "$process")
    wrk -t1 -c"$connections" -d"${seconds}s" --latency "$url" >"$work/wrk"
    after=$(ticks "$process")
    grep -qE 'Socket errors|Non-2xx' "$work/wrk" && fail "$url: $(grep -E 'Socket|Non-2xx' "$work/wrk")"
    awk -v connections="$connections" -v ticks=$((after - before)) -v hertz="$(getconf CLK_TCK)" '
        function microseconds(text) {
            return text ~ /us$/ ? text + 0 : text ~ /ms$/ ? text * 1e3 : text * 1e6
        }
        $1 == "50%" { p50 = microseconds($2) }
        $1 == "99%" { p99 = microseconds($2) }
        $2 == "requests" { requests = $1 }
        $1 == "Requests/sec:" { rate = $2 }
        END { print connections, rate, p50, p99, ticks * 1e6 / hertz / requests }' "$work/wrk"
}

measure() {
    local connections round
    for connections in 1 16; do
        load "$exporter_url" "$exporter_process" "$connections" >/dev/null
        load "$nginx_url" "$nginx_process" "$connections" >/dev/null
        for ((round = 0; round < rounds; round++)); do
            load "$exporter_url" "$exporter_process" "$connections" >"$work/one"
            load "$nginx_url" "$nginx_process" "$connections" >"$work/other"
            paste -d ' ' "$work/one" "$work/other"
        done
    done
}

# Prints a line for each quantity, from lines of five for the exporter and five for nginx.
summary() {
    awk '
        function median(list, count, i, j, kept) {
            for (i = 2; i <= count; i++) {
                kept = list[i]
                for (j = i - 1; j > 0 && list[j] > kept; j--) list[j + 1] = list[j]
                list[j + 1] = kept
            }
            return list[int((count + 1) / 2)]
        }
        function row(connections, field, name, ours, theirs, ratios, count, i) {
            for (i = 1; i <= NR; i++) if (cell[i, 1] == connections) {
                ours[++count] = cell[i, field]
                theirs[count] = cell[i, field + 5]
                if (theirs[count] > 0) ratios[count] = ours[count] / theirs[count]
            }
            printf "%-34s %12.1f %12.1f %9.2f\n", name ", " connections " connection" \
                (connections > 1 ? "s" : ""), median(ours, count), median(theirs, count), \
                median(ratios, count)
        }
        { for (i = 1; i <= NF; i++) cell[NR, i] = $i }
        END {
            for (connections = 1; connections <= 16; connections += 15) {
                row(connections, 2, "requests/s")
                row(connections, 3, "p50 us")
                row(connections, 4, "p99 us")
                row(connections, 5, "CPU us/request")
            }
        }' "$1"
}

start_exporter
start_nginx
measure >"$work/rounds"
body=$work/static/metrics
printf '%d series in %d bytes, %d rounds of %d s\n' \
    "$(grep -cv '^#' "$body")" "$(wc -c <"$body")" "$rounds" "$seconds"
printf '%-34s %12s %12s %9s\n' "" exporter nginx ratio
summary "$work/rounds"
awk -v ours="$(resident "$exporter_process")" -v theirs="$(resident "$nginx_process")" 'BEGIN {
    printf "%-34s %12d %12d %9.2f\n", "resident KiB afterwards", ours, theirs, ours / theirs }'
