#!/usr/bin/env bash
# Makes (or remakes) the pinned module files lines/<line>.mod and .sum of one CometBFT line: pin.sh LINE.
set -euo pipefail
cd "$(dirname "$0")"
. ./lines.sh
line=${1:?usage: pin.sh LINE}
line_facts "$line"
mod=lines/$line.mod
{
	echo "module tmkms-nitro/e2e"
	echo
	echo "go 1.25.0"
	echo
	echo "require $module $required"
	if [ "$required" != "$version" ]; then
		# v0.34.35 still calls itself tendermint, and its own replace lines name forks that a proxy does not serve.
		echo "replace $module => github.com/cometbft/cometbft $version"
		echo "replace github.com/adlio/schema => github.com/adlio/schema v1.3.3"
	fi
} >"$mod"
rm -f "lines/$line.sum"
# Not `go mod tidy`: it reads the sources of all build tags at once, so it would mix the lines' imports.
go build -p 2 -mod=mod -modfile="$mod" -tags "$tag" -o /dev/null ./harness
go build -p 2 -mod=mod -modfile="$mod" -o /dev/null "$module/cmd/cometbft"
echo "pinned $line: $module $version" >&2
