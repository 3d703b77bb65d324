#!/usr/bin/env bash
# Starts (or stops) Posthaste with the features of the benchmark; durable acks and the archive are always on.
# Usage: posthaste.sh start DIR XMPP_PORT TLS_PORT | posthaste.sh stop DIR
#   POSTHASTE_BIN: the binary (default: this checkout's release build)
#   MEDIA_LISTEN: a line of [listen] with the HTTP port for files, as `https = ["127.0.0.1:5281"]` (default: none)
# Leaves DIR/pids with the server's process id.
set -euo pipefail
source "$(dirname "$0")/stop.sh"
dir=$2
if [ "$1" = stop ]; then
  stop_server "$dir"
  exit
fi
xmpp_port=$3 tls_port=$4
top=$(cd "$(dirname "$0")/../.." && pwd)
binary=${POSTHASTE_BIN:-${CARGO_TARGET_DIR:-$top/target}/release/posthaste}
mkdir -p "$dir"
# As for the others, what bounds a single client is opened: the load comes from few addresses.
cat > "$dir/posthaste.toml" <<CONFIG
[listen]
c2s = ["127.0.0.1:$xmpp_port"]
c2s_tls = ["127.0.0.1:$tls_port"]
${MEDIA_LISTEN:-http = []}
metrics = []
[login]
plaintext_on_loopback = true
[limits]
connections_per_address = 1000000
size_per_second = "0 B"
[accounts]
registrations_per_address = 1000000
[rooms]
shown = 100000
message_rate = 0
room_message_rate = 0
presence_rate = 0
[media]
file_size = "1 GiB"
account_size = "1024 GiB"
daily_size = "1024 GiB"
[storage]
directory = "data"
[log]
level = "warn"
[host."localhost"]
registration = true
keep = "forever"
CONFIG
cd "$dir"
"$binary" -c "$dir/posthaste.toml" run > "$dir/out.log" 2>&1 &
echo $! > "$dir/pids"
