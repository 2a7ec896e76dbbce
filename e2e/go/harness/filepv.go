// The filepv subcommand: CometBFT's FilePV behind its SignerServer, a peer signer for benchmarks and self-tests.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func runFilePV(args []string) error {
	fs := flag.NewFlagSet("filepv", flag.ContinueOnError)
	key := fs.String("key", "", "priv_validator_key.json; made when absent")
	state := fs.String("state", "", "priv_validator_state.json; made when absent")
	dial := fs.String("dial", "", "the node: unix://PATH or tcp://HOST:PORT")
	chainID := fs.String("chain-id", "", "the chain")
	kind := fs.String("type", "ed25519", "type of a key that is made: "+keyNames())
	verbose := fs.Bool("verbose", false, "CometBFT's log on stderr")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *key == "" || *state == "" || *dial == "" {
		return usageError("--key, --state and --dial are needed")
	}
	pv, err := openFilePV(*key, *state, *kind)
	if err != nil {
		return err
	}
	var server interface {
		Start() error
		Stop() error
	}
	log := newLogger(*verbose)
	// Some 20 minutes of attempts: a signer that outlives its test is ended by the test.
	retries, pause := dialerConnRetries(12000), dialerRetryWait(100*time.Millisecond)
	proto, rest, _ := strings.Cut(*dial, "://")
	switch proto {
	case "unix":
		server = newSignerServer(newSignerDialerEndpoint(log, dialUnixFn(rest), retries, pause), *chainID, pv)
	case "tcp":
		server = newSignerServer(newSignerDialerEndpoint(log, dialTCPFn(rest, 3*time.Second, genEd25519()), retries, pause), *chainID, pv)
	default:
		return fmt.Errorf("address %q: want unix://PATH or tcp://HOST:PORT", *dial)
	}
	if err := server.Start(); err != nil {
		return err
	}
	emit(map[string]any{"event": "started", "pub_key": pubKeyToJSON(pv.Key.PubKey), "dial": *dial})
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
	return server.Stop()
}

// openFilePV looks for the files itself, because FilePV's own loader ends the process.
func openFilePV(key, state, kind string) (*filePV, error) {
	for _, p := range []string{key, state} {
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			return nil, err
		}
	}
	_, keyErr := os.Stat(key)
	_, stateErr := os.Stat(state)
	switch {
	case keyErr == nil && stateErr == nil:
		return loadFilePV(key, state), nil
	case keyErr == nil && os.IsNotExist(stateErr):
		pv := loadFilePVEmptyState(key, state)
		pv.Save()
		return pv, nil
	case os.IsNotExist(keyErr) && os.IsNotExist(stateErr):
		k, err := kindOf(kind)
		if err != nil {
			return nil, err
		}
		priv, err := k.random()
		if err != nil {
			return nil, err
		}
		pv := newFilePV(priv, key, state)
		pv.Save()
		return pv, nil
	case os.IsNotExist(keyErr):
		return nil, fmt.Errorf("%s exists without its key %s", state, key)
	case keyErr != nil:
		return nil, keyErr
	}
	return nil, stateErr
}
