# Posthaste's commands. Each is a script in scripts/ that says more about itself.
#
#   make run      build the server and start it here, on loopback, with ./data
#   make test     everything that has to hold before a change lands
#
#   make lint     formatting and lints only
#   make interop  the server with real clients (tests/README.md says which); and transcripts
#   make crash    kill -9, power cuts, full disks: nothing acknowledged is lost
#   make bench    this server, ejabberd and prosody side by side
#   make fuzz     every fuzz target for a minute

.PHONY: run test lint interop crash bench fuzz

run:
	@scripts/run.sh

test:
	@scripts/test.sh

lint:
	@STAGES="fmt clippy" scripts/test.sh

interop:
	@STAGES="setup build transcripts interop" scripts/test.sh

crash:
	@scripts/setup.sh test
	@cargo build --quiet --locked --bin posthaste
	@scripts/crash.sh

bench:
	@scripts/setup.sh bench
	@bench/run.sh

fuzz:
	@scripts/setup.sh fuzz
	@scripts/fuzz.sh 60
