# Sourced by the scripts beside this: what stopping a server is, whichever it is.

# stop_server DIR: ends the processes that DIR/pids names, politely first; 15 s is ample for a clean end.
stop_server() {
  local pid
  for pid in $(cat "$1/pids" 2>/dev/null); do
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 150); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  done
  rm -f "$1/pids"
}
