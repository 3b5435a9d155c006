# Thin, over cargo and pytest. `make help` lists what there is.
CARGO  ?= $(shell command -v cargo || echo $(HOME)/.cargo/bin/cargo)
PYTHON ?= /usr/bin/python3
VENV   := target/venv
MODULE ?= target/release/libmod_wsgi.so
JOBS   ?= 2
SECONDS ?= 600
export CARGO

.DEFAULT_GOAL := help
.PHONY: help run test test-rust test-httpd chaos deps build lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make run APP=/srv/app.wsgi PYTHON_HOME=/srv/venv PORT=8080    serves your own application"
	@echo "  make test ARGS='-k reload'                                    some of the tests"

run: ## build, and serve the demonstration on http://127.0.0.1:8000
	@$(RUN) --check
	@$(MAKE) --no-print-directory build
	@$(RUN)

RUN = APP="$(APP)" PYTHON_HOME="$(PYTHON_HOME)" PORT="$(PORT)" MODULE="$(MODULE)" demo/run.sh

test: test-rust test-httpd ## all tests

test-rust: deps ## the unit tests
	$(CARGO) test --workspace

test-httpd: build $(VENV)/.complete ## the tests on a real httpd
	$(VENV)/bin/python -m pytest -c tests/pytest.ini -n $(JOBS) --dist worksteal --module "$(MODULE)" $(ARGS) tests

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

lint: deps ## formatting and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

clean: ## remove what was built
	rm -rf target
