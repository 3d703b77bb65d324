#!/usr/bin/env bash
# Starts (or stops) nginx from Debian's package as a WebDAV folder: files are PUT and got, plain and over TLS.
# Usage: nginx.sh start DIR HTTP_PORT TLS_PORT | nginx.sh stop DIR
#   MEDIA_CERTIFICATE, MEDIA_KEY: the certificate to show (PEM), so that all servers show the same
# As many processes as there are cores, no logs, everything else as the package's own configuration has it.
# Leaves DIR/pids with the server's process ids.
set -euo pipefail
source "$(dirname "$0")/stop.sh"
dir=$2
if [ "$1" = stop ]; then
  stop_server "$dir"
  exit
fi
http_port=$3 tls_port=$4
mkdir -p "$dir/files" "$dir/temporary"
# Whoever starts it may write where it is to write.
user=
[ "$(id -u)" -ne 0 ] || user='user root;'
cat > "$dir/nginx.conf" <<CONFIG
$user
daemon off;
worker_processes auto;
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  default_type application/octet-stream;
  client_max_body_size 0;
  client_body_temp_path $dir/temporary/body;
  proxy_temp_path $dir/temporary/proxy;
  fastcgi_temp_path $dir/temporary/fastcgi;
  uwsgi_temp_path $dir/temporary/uwsgi;
  scgi_temp_path $dir/temporary/scgi;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_certificate $MEDIA_CERTIFICATE;
  ssl_certificate_key $MEDIA_KEY;
  server {
    listen 127.0.0.1:$http_port;
    listen 127.0.0.1:$tls_port ssl;
    root $dir/files;
    location / { dav_methods PUT; }
  }
}
CONFIG
nginx -c "$dir/nginx.conf" > "$dir/out.log" 2>&1 &
main=$!
# The first is the one that starts the others again: it is ended first.
echo $main > "$dir/pids"
for _ in $(seq 100); do
  workers=$(cat "/proc/$main/task/$main/children")
  [ -z "$workers" ] || break
  sleep 0.1
done
echo "$workers" >> "$dir/pids"
