#!/usr/bin/env bash
# Starts (or stops) Prosody from Debian's package with the features of the benchmark:
# plain and direct-TLS c2s on loopback, SM, carbons, MAM always on, offline store, roster, registration, rooms with
# their archive.
# Usage: prosody.sh start DIR XMPP_PORT TLS_PORT | prosody.sh stop DIR
#   PROSODY_STORAGE=internal (default: the faster of the two here) or sqlite
# Leaves DIR/pids with the server's process ids.
set -euo pipefail
source "$(dirname "$0")/stop.sh"
dir=$2
if [ "$1" = stop ]; then
  stop_server "$dir"
  exit
fi
xmpp_port=$3 tls_port=$4
mkdir -p "$dir/data"
[ -e "$dir/cert.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
  -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
if [ "${PROSODY_STORAGE:-internal}" = sqlite ]; then
  storage='storage = "sql"; sql = { driver = "SQLite3", database = "prosody.sqlite" }'
else
  storage='storage = "internal"'
fi
cat > "$dir/prosody.cfg.lua" <<CONFIG
run_as_root = true
daemonize = false
pidfile = "$dir/prosody.pid"
data_path = "$dir/data"
certificates = "$dir"
interfaces = { "127.0.0.1" }
c2s_ports = { $xmpp_port }
c2s_direct_tls_ports = { $tls_port }
s2s_ports = {}
network_backend = "epoll"
network_settings = { tcp_backlog = 4096 }
gc = { mode = "generational" }
log = { warn = "$dir/prosody.log" }
plugin_paths = {}
modules_enabled = { "roster", "saslauth", "tls", "disco", "carbons", "smacks", "mam", "offline", "csi_simple",
  "ping", "register_ibr", "vcard_legacy", "private", "blocklist", "pep", "presence", "message", "iq", "c2s" }
modules_disabled = { "s2s", "limits" }
allow_registration = true
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
c2s_stanza_size_limit = 262144
authentication = "internal_hashed"
default_archive_policy = true
archive_expires_after = "never"
smacks_hibernation_time = 300
ssl = { certificate = "$dir/cert.pem", key = "$dir/key.pem" }
c2s_direct_tls_ssl = { certificate = "$dir/cert.pem", key = "$dir/key.pem" }
$storage
VirtualHost "localhost"
Component "conference.localhost" "muc"
modules_enabled = { "muc_mam" }
muc_room_default_persistent = true
muc_log_by_default = true
muc_log_presences = false
muc_log_expires_after = "never"
CONFIG
cd "$dir"
prosody -F --config "$dir/prosody.cfg.lua" > "$dir/out.log" 2>&1 &
echo $! > "$dir/pids"
