#!/usr/bin/env bash
# Starts (or stops) ejabberd from Debian's package with the features of the benchmark:
# plain and direct-TLS c2s on loopback, SM, carbons, MAM always on (Mnesia), offline store, roster, registration, rooms
# with their archive.
# Usage: ejabberd.sh start DIR XMPP_PORT TLS_PORT | ejabberd.sh stop DIR
#   EJABBERD_STORAGE=mnesia (default: the faster of the two here) or sqlite
# Leaves DIR/pids with the server's process ids. No Erlang distribution, so no epmd is started.
set -euo pipefail
source "$(dirname "$0")/stop.sh"
dir=$2
if [ "$1" = stop ]; then
  stop_server "$dir"
  exit
fi
xmpp_port=$3 tls_port=$4
mkdir -p "$dir/data"
if [ ! -e "$dir/cert.pem" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout "$dir/key.pem" -out "$dir/crt.pem" 2>/dev/null
  cat "$dir/crt.pem" "$dir/key.pem" > "$dir/cert.pem"
fi
if [ "${EJABBERD_STORAGE:-mnesia}" = sqlite ]; then
  storage=$'default_db: sql\nsql_type: sqlite\nsql_database: '"$dir/data/ejabberd.sqlite"
else
  storage='default_db: mnesia'
fi
cat > "$dir/ejabberd.yml" <<CONFIG
hosts: ["localhost"]
loglevel: warning
$storage
auth_method: internal
auth_password_format: scram
disable_sasl_mechanisms: ["X-OAUTH2"]
certfiles: ["$dir/cert.pem"]
listen:
  - {port: $xmpp_port, ip: "127.0.0.1", module: ejabberd_c2s, max_stanza_size: 262144, backlog: 4096, access: all, starttls: false}
  - {port: $tls_port, ip: "127.0.0.1", module: ejabberd_c2s, max_stanza_size: 262144, backlog: 4096, access: all, tls: true}
shaper_rules:
  max_user_sessions: 1000
  max_user_offline_messages: infinity
access_rules:
  register: {allow: all}
registration_timeout: infinity
modules:
  mod_adhoc: {}
  mod_blocking: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_client_state: {}
  mod_disco: {}
  mod_last: {}
  mod_mam: {default: always, assume_mam_usage: false}
  mod_muc:
    host: conference.localhost
    max_users: 10000
    # Otherwise a room of more than a thousand tells nobody of joins; bench/run.py says when that is wanted.
    max_users_presence: ${EJABBERD_MAX_USERS_PRESENCE:-100000}
    default_room_options: {mam: true, persistent: true, max_users: 10000}
  mod_offline: {access_max_user_messages: max_user_offline_messages}
  mod_ping: {}
  mod_privacy: {}
  mod_private: {}
  mod_pubsub: {plugins: [flat, pep]}
  mod_register: {access: register, ip_access: all}
  mod_roster: {versioning: true}
  mod_stream_mgmt: {resend_on_timeout: true, resume_timeout: 300}
  mod_vcard: {}
  mod_version: {}
CONFIG
libs=$(dirname "$(find /usr/lib -maxdepth 3 -type d -name 'ejabberd-*' | head -1)")
cd "$dir"
ERL_LIBS=$libs EJABBERD_CONFIG_PATH=$dir/ejabberd.yml EJABBERD_LOG_PATH=$dir/ejabberd.log \
ERL_CRASH_DUMP=$dir/crash.dump HOME=$dir SCRIPT_DIR=$dir EJABBERD_PID_PATH=$dir/ejabberd.pid \
  erl +K true +P 250000 +Q 65536 -noinput -mnesia dir "\"$dir/data\"" -mnesia dump_log_write_threshold 50000 \
  -s ejabberd > "$dir/out.log" 2>&1 &
echo $! > "$dir/pids"
