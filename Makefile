.PHONY: help setup build demo test bench fuzz sanitize storm faults hostile beside soak fleet lint generate check-images clean

help: ## lists what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

setup: ## installs what is missing: Debian packages, and Python packages into .venv
	@tools/setup.sh

build: ## builds both programs for release, into .build/bin
	@tools/build.sh

demo: setup build ## records two live streams, stops with SIGTERM, and shows what was seen of it
	@tools/demo.py .build/bin

test: setup ## builds and lints everything, and runs every test
	@tools/test.sh

bench: setup ## measures publishing beside C, and scraping beside nginx
	@tools/bench.sh

fuzz: setup ## feeds mutated bytes to all that strangers can send, a minute each; TIME=600 takes longer
	@tools/fuzz.sh $(or $(TIME),60)

sanitize: setup ## runs the Swift tests under AddressSanitizer and ThreadSanitizer
	@tools/sanitize.sh

storm: setup build ## ends recorder and exporter in every way, and compares the counts of two Prometheus servers with the truth; STORM_RUNS=1000 takes longer
	@STREAMVAULT_BIN=.build/bin PYTHONPATH=tools python3 -m storm

faults: setup build ## makes each system call on files and connections fail, and a recorder die in each phase, and 100 times at random
	@STREAMVAULT_BIN=.build/bin tools/faults/calls.py
	@STREAMVAULT_BIN=.build/bin tools/faults/matrix.py
	@STREAMVAULT_BIN=.build/bin tools/faults/kills.py

hostile: setup build ## both programs under hostile origins, clients and neighbours, a changing file system and signals, all at once; HOSTILE_MINUTES=5 HOSTILE_SEED=1
	@STREAMVAULT_BIN=.build/bin PYTHONPATH=tools python3 -m hostile

beside: setup build ## records 114 odd streams with the recorder, ffmpeg and streamlink at once, and compares what they kept, packet by packet
	@.venv/bin/pip install --quiet streamlink==8.6.0
	@PATH="$(CURDIR)/.venv/bin:$$PATH" STREAMVAULT_BIN=.build/bin PYTHONPATH=tools python3 -m gauntlet

soak: setup build ## an hour of 100 scrapes a second with a restart every minute: does anything grow? SOAK_MINUTES=600 takes longer
	@STREAMVAULT_BIN=.build/bin tools/soak/soak.py $(or $(SOAK_MINUTES),60)

fleet: setup build ## a rollout of 1,000 pods before the eyes of one Prometheus, and what that costs it; FLEET_PODS=100 is less
	@tools/swift-build.sh -c release --product Fleet
	@STREAMVAULT_BIN=.build/bin tools/fleet/fleet.py $(or $(FLEET_PODS),1000)

lint: ## checks the form of Swift code and shell scripts
	@tools/lint.sh

generate: setup ## writes the dashboards and the PrometheusRule anew from their sources
	@.venv/bin/python tools/generate.py

check-images: setup ## builds both images, and runs them, the pod of k8s/ and both Compose files on a real Docker, stopped in every way
	@.venv/bin/python tools/check_images.py

clean: ## removes what was built
	rm -rf .build
