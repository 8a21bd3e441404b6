# The commands of this project. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help deps demo demo-stop test run helm-check image-check deploy-check openapi clients fmt lint arrows test-env-stop bench-edge bench-publication

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-18s %s\n' "$$name" "$$text"; done

deps: ## install what the demo and the tests need (says first what)
	@scripts/install-deps

demo: ## the main job from end to end on real parts, then stay up (EXIT=1: end after the last step; PROVIDER=bind or powerdns: the service's zone there)
	@EXIT='$(EXIT)' STRICT='$(STRICT)' PROVIDER='$(PROVIDER)' scripts/demo

demo-stop: ## end a demo that stays up
	@scripts/demo stop

test: ## everything that must hold: format, lints, arrows, tests, OpenAPI, demo
	@STRICT='$(STRICT)' scripts/test

run: ## `mtasts all` with its embedded defaults on a private Postgres
	@scripts/run

helm-check: ## hold the chart to what it promises, with a real Helm and no cluster
	@scripts/helm-check

image-check: ## build the image and run it as a cluster would (root only; `scripts/image-run --whole` builds all of it)
	@scripts/image-run

deploy-check: ## run what the chart renders as local processes, and restart each role under load
	@scripts/deploy-check

openapi: ## write openapi/openapi.json from the code
	@mkdir -p openapi
	cargo run -q -p mtasts-app -- openapi --output openapi/openapi.json

clients: ## make the clients for TypeScript and Python, into target/clients
	@scripts/clients

fmt: ## format the code
	cargo fmt --all

lint: ## clippy, as strict as in `make test`
	cargo clippy --workspace --all-targets -- -D warnings

arrows: ## check who may depend on whom
	@scripts/check-arrows

test-env-stop: ## end the private Postgres and Redis that `scripts/test-env` started
	@scripts/test-env stop

bench-edge: ## measure the edge beside a bare rustls server, nginx and Caddy
	@scripts/bench/edge

bench-publication: ## measure a change's way to edges and record (while `make demo` stays up elsewhere)
	@scripts/bench/publication
