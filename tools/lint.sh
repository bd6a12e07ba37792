#!/usr/bin/env bash
# Checks the form of all Swift code, and the shell scripts where shellcheck is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

swift format lint --strict -r Sources Tests bench fuzz/Targets fuzz/Package.swift Package.swift
shellcheck=.venv/bin/shellcheck
if [[ -x $shellcheck ]]; then
    "$shellcheck" tools/*.sh examples/*.sh .ci/run
else
    echo "lint: shell scripts are not checked: make setup installs shellcheck"
fi
