// Harness is the Go side of the end-to-end tests: CometBFT's own client, peer signer, node and encoders of one line, driven by lines of JSON.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// line is the CometBFT line that this binary was built for; build.sh sets it.
var line = "unknown"

var commands = map[string]struct {
	run  func(args []string) error
	help string
}{
	"client":  {runClient, "the node's side of privval: listens, then takes commands from stdin"},
	"fleet":   {runFleet, "the node's side of many chains at once"},
	"raw":     {runRaw, "a peer that sends whatever bytes stdin asks for"},
	"filepv":  {runFilePV, "CometBFT's FilePV behind its SignerServer"},
	"genkey":  {runGenKey, "a new priv_validator_key.json"},
	"vectors": {runVectors, "golden vectors as JSON, or --check FILE"},
	"oracle":  {runOracle, "decodes messages from stdin and says what Go makes of them"},
	"node":    {runNode, "a node with our application, which turns vote extensions on"},
	"testnet": {runTestnet, "home folders for a chain on loopback"},
	"version": {runVersion, "the line and the module version"},
}

var commandOrder = []string{"client", "fleet", "raw", "filepv", "genkey", "vectors", "oracle", "node", "testnet", "version"}

func usage() {
	fmt.Fprintf(os.Stderr, "harness of CometBFT %s\n\nusage: harness COMMAND [flags]; harness COMMAND -h lists the flags\n\n", line)
	for _, name := range commandOrder {
		fmt.Fprintf(os.Stderr, "  %-8s %s\n", name, commands[name].help)
	}
}

func main() {
	if len(os.Args) < 2 {
		usage()
		os.Exit(2)
	}
	c, ok := commands[os.Args[1]]
	if !ok {
		usage()
		os.Exit(2)
	}
	if err := c.run(os.Args[2:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintf(os.Stderr, "harness %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// parse reads the flags of one subcommand, which takes no other arguments.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	return nil
}

func runVersion(args []string) error {
	fs := flag.NewFlagSet("version", flag.ContinueOnError)
	if err := parse(fs, args); err != nil {
		return err
	}
	out := map[string]any{"line": line, "go": runtime.Version(), "extensions": hasExtensions}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/cometbft/cometbft" || m.Path == "github.com/tendermint/tendermint" {
				if m.Replace != nil {
					m = m.Replace
				}
				out["module"], out["version"] = m.Path, m.Version
			}
		}
	}
	emit(out)
	return nil
}

var stdout sync.Mutex

// emit writes one line of JSON to stdout. A reader that has gone away ends the process: nobody is left to serve.
func emit(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(map[string]any{"ok": false, "error": map[string]any{"kind": "harness", "message": err.Error()}})
	}
	stdout.Lock()
	defer stdout.Unlock()
	if _, err := os.Stdout.Write(append(b, '\n')); err != nil {
		fmt.Fprintln(os.Stderr, "harness: stdout:", err)
		os.Exit(1)
	}
}
