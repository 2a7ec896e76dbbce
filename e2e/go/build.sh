#!/usr/bin/env bash
# Builds the stock node command and the harness of one CometBFT line: build.sh LINE OUTDIR puts OUTDIR/cometbft and OUTDIR/harness.
# Nothing is built while OUTDIR/stamp fits the sources, the pinned modules and the Go version; BUILD_PROCS sets go's -p (default 2).
set -euo pipefail
usage="usage: build.sh LINE OUTDIR"
line=${1:?$usage}
out=${2:?$usage}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"
. ./lines.sh
line_facts "$line"
mod=lines/$line.mod
[ -f "$mod" ] || { echo "$mod is missing; pin.sh $line makes it" >&2; exit 1; }

# One build of a line at a time, so that two callers do not write the same files.
exec 9>"$out/.lock"
flock 9
stamp=$({ go version && cat lines.sh build.sh "$mod" "lines/$line.sum" harness/*.go; } | sha256sum | cut -d' ' -f1)
if [ -x "$out/cometbft" ] && [ -x "$out/harness" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
	echo "$line: up to date"
	exit 0
fi
rm -f "$out/stamp"
step() {
	local name=$1 start=$SECONDS
	shift
	echo "$line: building $name ($module $version)"
	go build -p "${BUILD_PROCS:-2}" -mod=readonly -modfile="$mod" -trimpath -buildvcs=false -o "$out/$name.new" "$@"
	mv "$out/$name.new" "$out/$name"
	echo "$line: built $name in $((SECONDS - start)) s"
}
step cometbft -ldflags "-s -w" "$module/cmd/cometbft"
step harness -tags "$tag" -ldflags "-s -w -X main.line=$line" ./harness
echo "$stamp" >"$out/stamp"
