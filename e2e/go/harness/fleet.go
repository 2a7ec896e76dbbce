// The fleet subcommand: the node's side of many chains at once, for measuring one signer that serves them all.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

type fleetCommand struct {
	Op          string `json:"op"`
	Seconds     int    `json:"seconds"`
	IntervalMS  int64  `json:"interval_ms"`
	StartHeight int64  `json:"start_height"`
}

func runFleet(args []string) error {
	fs := flag.NewFlagSet("fleet", flag.ContinueOnError)
	dir := fs.String("dir", "", "folder for the sockets 0.sock, 1.sock, …")
	count := fs.Int("count", 256, "how many chains")
	prefix := fs.String("chain-prefix", "chain-", "chain i is called PREFIX and i")
	timeout := fs.Duration("timeout", 30*time.Second, "how long to wait until all are connected")
	verbose := fs.Bool("verbose", false, "CometBFT's log on stderr")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *dir == "" || *count < 1 {
		return usageError("--dir and a --count ≥ 1 are needed")
	}
	chains := make([]*client, *count)
	for i := range chains {
		endpoint, _, err := newEndpoint("unix://"+filepath.Join(*dir, fmt.Sprintf("%d.sock", i)), newLogger(*verbose))
		if err != nil {
			return err
		}
		c := &client{
			endpoint: endpoint, chainID: fmt.Sprintf("%s%d", *prefix, i),
			clients: map[string]*signerClient{}, keys: map[string]pubKey{},
		}
		if _, err := c.forChain(c.chainID); err != nil {
			return err
		}
		chains[i] = c
	}
	start := time.Now()
	emit(map[string]any{"event": "listening", "dir": *dir, "count": *count, "line": line})
	if err := all(chains, func(_ int, c *client) error { return c.wait(*timeout) }); err != nil {
		return err
	}
	emit(map[string]any{"event": "connected", "all_connected_ns": time.Since(start).Nanoseconds()})
	return eachLine(os.Stdin, func(text []byte) bool {
		var cmd fleetCommand
		if err := json.Unmarshal(text, &cmd); err != nil {
			emit(map[string]any{"ok": false, "error": clientError{Kind: "harness", Message: err.Error()}})
			return true
		}
		switch cmd.Op {
		case "close":
			emit(map[string]any{"op": cmd.Op, "ok": true})
			return false
		case "run":
			emit(fleetRun(chains, cmd))
		default:
			emit(map[string]any{"op": cmd.Op, "ok": false, "error": clientError{Kind: "harness", Message: "unknown op"}})
		}
		return true
	})
}

// all runs f for every chain at once and gives back the first error.
func all(chains []*client, f func(int, *client) error) error {
	errs := make([]error, len(chains))
	var wg sync.WaitGroup
	for i, c := range chains {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = f(i, c)
		}()
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("%s: %w", chains[i].chainID, err)
		}
	}
	return nil
}

func fleetRun(chains []*client, cmd fleetCommand) map[string]any {
	if cmd.IntervalMS <= 0 {
		cmd.IntervalMS = 1000
	}
	if cmd.StartHeight <= 0 {
		cmd.StartHeight = 1
	}
	interval := time.Duration(cmd.IntervalMS) * time.Millisecond
	turns := max(int(time.Duration(cmd.Seconds)*time.Second/interval), 1)
	var mu sync.Mutex
	latencies, failures := []int64{}, 0
	begun := time.Now()
	err := all(chains, func(i int, c *client) error {
		var first error
		phase := interval * time.Duration(i) / time.Duration(len(chains))
		for turn := range turns {
			time.Sleep(time.Until(begun.Add(phase + time.Duration(turn)*interval)))
			v := voteJSON{
				Type: 1, Height: cmd.StartHeight + int64(turn), BlockID: exampleBlock(), Timestamp: timeJSON{time.Now().UTC()},
				ValidatorAddress: digest("validator_address")[:20],
			}
			p, err := v.proto()
			if err != nil {
				return err
			}
			start := time.Now()
			err = signVote(c.clients[c.chainID], c.chainID, p, false)
			took := time.Since(start).Nanoseconds()
			mu.Lock()
			if err == nil {
				latencies = append(latencies, took)
			} else {
				failures++
			}
			mu.Unlock()
			if err != nil && first == nil {
				first = err
			}
		}
		return first
	})
	out := map[string]any{
		"op": cmd.Op, "ok": err == nil, "latencies_ns": latencies, "failures": failures,
		"total_ns": time.Since(begun).Nanoseconds(), "next_height": cmd.StartHeight + int64(turns),
	}
	if err != nil {
		out["error"] = classify(err)
	}
	return out
}
