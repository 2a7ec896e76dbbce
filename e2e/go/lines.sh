# The table of CometBFT lines that the scripts beside it share: line_facts LINE sets module, required, version and tag.
lines="v0.34 v0.37 v0.38 v0.39 v0.40 v1.0"
line_facts() {
	module=github.com/cometbft/cometbft
	case $1 in
	v0.34)
		module=github.com/tendermint/tendermint
		version=v0.34.35 required=v0.34.24
		;;
	v0.37) version=v0.37.18 ;;
	v0.38) version=v0.38.26 ;;
	v0.39) version=v0.39.4 ;;
	v0.40) version=v0.40.0 ;;
	v1.0) version=v1.0.1 ;;
	*)
		echo "unknown line $1: one of $lines" >&2
		return 1
		;;
	esac
	required=${required:-$version}
	tag=${1//./}
}
