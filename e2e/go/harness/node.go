// The node subcommand: a full node in this process with an application that turns vote extensions on.

//go:build v038 || v039 || v040 || v10

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cometbft/cometbft/libs/log"
	"github.com/spf13/viper"
)

// application accepts every transaction, keeps nothing but its height, and extends votes with bytes that follow from the height.
type application struct {
	abciBase
	extensionBytes int
	extensionsAt   int64
	path           string
	state          applicationState
}

type applicationState struct {
	Height  int64    `json:"height"`
	AppHash hexBytes `json:"app_hash"`
}

func runNode(args []string) error {
	fs := flag.NewFlagSet("node", flag.ContinueOnError)
	home := fs.String("home", "", "the node's home, made by testnet")
	size := fs.Int("extension-bytes", 32, "length of each vote extension; 0 is an empty one")
	from := fs.Int64("extensions-at", 2, "first height with vote extensions; 0 leaves them off")
	level := fs.String("log", "error", "CometBFT's log level on stderr")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *home == "" {
		return usageError("--home is needed")
	}
	c := defaultConfig()
	v := viper.New()
	v.SetConfigFile(filepath.Join(*home, "config", "config.toml"))
	if err := v.ReadInConfig(); err != nil {
		return err
	}
	if err := v.Unmarshal(c); err != nil {
		return err
	}
	c.SetRoot(*home)
	if err := c.ValidateBasic(); err != nil {
		return err
	}
	app := &application{
		extensionBytes: *size, extensionsAt: *from, path: filepath.Join(*home, "data", "harness_app.json"),
	}
	if text, err := os.ReadFile(app.path); err == nil {
		if err := json.Unmarshal(text, &app.state); err != nil {
			return err
		}
	} else if !os.IsNotExist(err) {
		return err
	}
	key, err := loadOrGenNodeKey(c.NodeKeyFile())
	if err != nil {
		return err
	}
	// As the stock command does: a key file is there even where a remote signer is used, and goes unused then.
	pv, err := openFilePV(c.PrivValidatorKeyFile(), c.PrivValidatorStateFile(), "ed25519")
	if err != nil {
		return err
	}
	if c.PrivValidatorListenAddr != "" {
		emit(map[string]any{"event": "awaiting_signer", "laddr": c.PrivValidatorListenAddr})
	}
	logs, err := log.AllowLevel(*level)
	if err != nil {
		return err
	}
	n, err := newNode(c, pv, key, app, log.NewFilter(log.NewTMLogger(log.NewSyncWriter(os.Stderr)), logs))
	if err != nil {
		return err
	}
	if err := n.Start(); err != nil {
		return err
	}
	emit(map[string]any{"event": "started", "node_id": string(key.ID()), "rpc": c.RPC.ListenAddress, "line": line})
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
	// Consensus may sit in its many attempts to reach a signer that is gone, and Stop waits for it.
	stopped := make(chan error, 1)
	go func() { stopped <- n.Stop() }()
	select {
	case err := <-stopped:
		return err
	case <-time.After(5 * time.Second):
		emit(map[string]any{"event": "stop_timeout"})
		return nil
	}
}

func (a *application) Info(context.Context, *abciInfoRequest) (*abciInfoResponse, error) {
	return &abciInfoResponse{LastBlockHeight: a.state.Height, LastBlockAppHash: a.state.AppHash}, nil
}

func (a *application) InitChain(context.Context, *abciInitChainRequest) (*abciInitChainResponse, error) {
	r := &abciInitChainResponse{}
	if a.extensionsAt > 0 {
		r.ConsensusParams = extensionsFrom(a.extensionsAt)
	}
	return r, nil
}

func (a *application) PrepareProposal(ctx context.Context, req *abciPrepareProposalRequest) (*abciPrepareProposalResponse, error) {
	type extended struct {
		Address   hexBytes `json:"address"`
		Bytes     int      `json:"extension_bytes"`
		Signature hexBytes `json:"extension_signature"`
	}
	votes := []extended{}
	for _, v := range req.LocalLastCommit.Votes {
		if len(v.ExtensionSignature) > 0 {
			votes = append(votes, extended{v.Validator.Address, len(v.VoteExtension), v.ExtensionSignature})
		}
	}
	if len(votes) > 0 {
		emit(map[string]any{"event": "extended_commit", "height": req.Height - 1, "votes": votes})
	}
	return a.abciBase.PrepareProposal(ctx, req)
}

func (a *application) ExtendVote(_ context.Context, req *abciExtendVoteRequest) (*abciExtendVoteResponse, error) {
	emit(map[string]any{"event": "extend", "height": req.Height, "extension_bytes": a.extensionBytes})
	return &abciExtendVoteResponse{VoteExtension: a.extension(req.Height)}, nil
}

func (a *application) VerifyVoteExtension(_ context.Context, req *abciVerifyVoteExtensionRequest) (*abciVerifyVoteExtensionResponse, error) {
	good := bytes.Equal(req.VoteExtension, a.extension(req.Height))
	emit(map[string]any{
		"event": "verify", "height": req.Height, "address": hexBytes(req.ValidatorAddress),
		"extension_bytes": len(req.VoteExtension), "accepted": good,
	})
	if !good {
		return &abciVerifyVoteExtensionResponse{Status: extensionRejected}, nil
	}
	return &abciVerifyVoteExtensionResponse{Status: extensionAccepted}, nil
}

// extension is the same on every node, so that each can check the others'.
func (a *application) extension(height int64) []byte {
	out := make([]byte, 0, a.extensionBytes+sha256.Size)
	block := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(height)))
	for len(out) < a.extensionBytes {
		out = append(out, block[:]...)
		block = sha256.Sum256(block[:])
	}
	return out[:a.extensionBytes]
}

func (a *application) FinalizeBlock(ctx context.Context, req *abciFinalizeBlockRequest) (*abciFinalizeBlockResponse, error) {
	r, err := a.abciBase.FinalizeBlock(ctx, req)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(req.Height)))
	a.state = applicationState{req.Height, hash[:]}
	r.AppHash = hash[:]
	return r, nil
}

func (a *application) Commit(context.Context, *abciCommitRequest) (*abciCommitResponse, error) {
	text, err := json.Marshal(a.state)
	if err != nil {
		return nil, err
	}
	next := a.path + ".next"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return nil, err
	}
	if err := os.Rename(next, a.path); err != nil {
		return nil, err
	}
	emit(map[string]any{"event": "commit", "height": a.state.Height})
	return &abciCommitResponse{}, nil
}
