# Thin, over cargo and pytest. `make help` lists what there is.
CARGO  ?= $(shell command -v cargo || echo $(HOME)/.cargo/bin/cargo)
PYTHON ?= /usr/bin/python3
VENV   := target/venv
MODULE ?= target/release/libmod_wsgi.so
# Most tests wait more than they compute: three at once for each processor, and no more than have ports of their own.
JOBS   ?= $(shell n=$$(nproc); echo $$((n < 4 ? 3 * n : 12)))
DEBUG  := target/debug/libmod_wsgi.so
NIGHTLY ?= +nightly
SECONDS ?= 600
export CARGO

.DEFAULT_GOAL := help
.PHONY: help run check check-rust check-httpd test test-rust test-httpd check-asan check-miri check-interpreters fuzz chaos deps build engine install uninstall deb lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make run APP=/srv/app.wsgi PYTHON_HOME=/srv/venv PORT=8080    serves your own application"
	@echo "  make test ARGS='-k reload'                                    some of the tests"
	@echo "  tests/README.md says more about the tests"

run: ## build, and serve the demonstration on http://127.0.0.1:8000
	@$(RUN) --check
	@$(MAKE) --no-print-directory build
	@$(RUN)

RUN = APP="$(APP)" PYTHON_HOME="$(PYTHON_HOME)" PORT="$(PORT)" MODULE="$(MODULE)" demo/run.sh

check: lint $(VENV)/.complete ## what to run before each commit: a debug build, unit tests, tests of every area under one MPM
	$(CARGO) build --workspace
	@# Both mostly wait, so they run at once.
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check-rust check-httpd

check-rust:
	@MAKEFLAGS= WSGI_TEST_JOBS=3 $(CARGO) test --workspace --quiet

check-httpd:
	$(PYTEST) --check --module $(DEBUG) $(ARGS) tests

test: build $(VENV)/.complete ## all tests
	$(CARGO) test --workspace --no-run
	@# Both mostly wait, so they run at once.
	@$(MAKE) --no-print-directory --jobs=2 check-rust test-httpd

test-rust: deps ## the unit tests
	$(CARGO) test --workspace

test-httpd: build $(VENV)/.complete ## the tests on a real httpd
	$(PYTEST) --module "$(MODULE)" $(ARGS) tests

check-asan: deps $(VENV)/.complete ## the tests of requests with AddressSanitizer (a nightly toolchain), or a checking malloc
	@PYTEST="$(PYTEST)" CARGO="$(CARGO)" NIGHTLY="$(NIGHTLY)" tests/asan.sh $(ARGS)

check-miri: ## under Miri: words between threads and watchdog, the life of an exchange, the scoreboard (a nightly toolchain with miri)
	MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-many-seeds=0..4" $(CARGO) $(NIGHTLY) miri test -p wsgi-engine --lib -- slots:: exchange::
	# What maps memory twice, or draws its histories at random, is not for Miri.
	MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-permissive-provenance" $(CARGO) $(NIGHTLY) miri test -p wsgi-sys --lib -- \
	    scoreboard::tests:: --skip nothing_panics --skip mapped_again --skip written_to

check-interpreters: ## sub-interpreters, made, used and ended 1,000 times with each Python of PYTHONS, with one GIL and with one each
	WSGI_INTERPRETERS=1000 WSGI_TEST_FILE=test_interpreters.py WSGI_TEST_PYTHONS="$(or $(PYTHONS),$(PYTHON))" \
	    $(CARGO) test -p wsgi-engine --test daemon -- --nocapture

fuzz: ## each fuzz target for SECONDS (a nightly toolchain, cargo install cargo-fuzz)
	set -e; for target in $$(cd fuzz && ls fuzz_targets | sed 's/\.rs$$//'); do \
	    $(CARGO) $(NIGHTLY) fuzz run $$target -- -max_total_time=$(SECONDS) -max_len=4096; done

PYTEST = $(VENV)/bin/python -m pytest -c tests/pytest.ini -n $(JOBS) --dist worksteal

$(VENV)/.complete: tests/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q -r tests/requirements.txt
	@touch $@

chaos: build ## faults of all kinds under load, on a real httpd; SECONDS=600 SEED=1
	$(PYTHON) benches/chaos --module "$(MODULE)" --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

deps: ## install what is missing (as root; otherwise tell what to install)
	@.ci/deps.sh

build: deps ## build the module, its engine and its supervisor in release mode
	$(CARGO) build --release --workspace

engine: deps ## the engine for a free-threaded Python beside the other: make engine PYTHON=/path/to/python3.14t PROFILE=release
	@crates/engine/free-threaded.sh "$(PYTHON)" $(PROFILE)

install: ## install what `make build` made: DESTDIR=, APXS= (or MODULES_DIR=, CONF_DIR=)
	@packaging/install.sh install "$(dir $(MODULE))"

uninstall: ## remove what `make install` installed
	@packaging/install.sh uninstall "$(dir $(MODULE))"

deb: build ## a Debian package of the release build, in target/deb
	@packaging/deb.sh "$(dir $(MODULE))"

lint: deps ## formatting and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

clean: ## remove what was built
	rm -rf target
