// The client subcommand: CometBFT's SignerListenerEndpoint and SignerClient, which are the node's side of privval.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"time"
)

type clientCommand struct {
	Op            string        `json:"op"`
	ID            any           `json:"id"`
	ChainID       *string       `json:"chain_id"`
	TimeoutMS     int64         `json:"timeout_ms"`
	Vote          *voteJSON     `json:"vote"`
	Proposal      *proposalJSON `json:"proposal"`
	SkipExtension bool          `json:"skip_extension_signing"`
	Verify        *bool         `json:"verify"`

	Votes          int   `json:"votes"`
	Warmup         int   `json:"warmup"`
	StartHeight    int64 `json:"start_height"`
	Type           int32 `json:"type"`
	ExtensionBytes int   `json:"extension_bytes"`
	IntervalUS     int64 `json:"interval_us"`
}

type clientError struct {
	Kind        string `json:"kind"`
	Message     string `json:"message"`
	Code        int    `json:"code,omitempty"`
	Description string `json:"description,omitempty"`
	Timeout     bool   `json:"timeout,omitempty"`
}

type client struct {
	endpoint *signerEndpoint
	chainID  string
	clients  map[string]*signerClient
	keys     map[string]pubKey
}

// listen opens a loopback TCP port or a Unix socket; a socket file that a dead process left is removed.
func listen(addr string) (net.Listener, string, error) {
	proto, rest, ok := strings.Cut(addr, "://")
	if !ok || (proto != "unix" && proto != "tcp") {
		return nil, "", fmt.Errorf("address %q: want unix://PATH or tcp://HOST:PORT", addr)
	}
	if proto == "unix" {
		if st, err := os.Lstat(rest); err == nil && st.Mode()&os.ModeSocket != 0 {
			if err := os.Remove(rest); err != nil {
				return nil, "", err
			}
		}
	}
	ln, err := net.Listen(proto, rest)
	if err != nil {
		return nil, "", err
	}
	if proto == "tcp" {
		rest = ln.Addr().String()
	}
	return ln, proto + "://" + rest, nil
}

func newEndpoint(addr string, log logger) (*signerEndpoint, string, error) {
	ln, bound, err := listen(addr)
	if err != nil {
		return nil, "", err
	}
	var wrapped net.Listener
	if strings.HasPrefix(bound, "tcp:") {
		wrapped = newTCPListener(ln, genEd25519())
	} else {
		wrapped = newUnixListener(ln)
	}
	return newSignerListenerEndpoint(log, wrapped), bound, nil
}

func runClient(args []string) error {
	fs := flag.NewFlagSet("client", flag.ContinueOnError)
	addr := fs.String("listen", "", "unix://PATH or tcp://127.0.0.1:PORT (port 0: any)")
	chainID := fs.String("chain-id", "", "chain id of commands that name none")
	timeout := fs.Duration("timeout", 10*time.Second, "how long to wait for the signer's first connection")
	verbose := fs.Bool("verbose", false, "CometBFT's log on stderr")
	if err := parse(fs, args); err != nil {
		return err
	}
	endpoint, bound, err := newEndpoint(*addr, newLogger(*verbose))
	if err != nil {
		return err
	}
	c := &client{endpoint: endpoint, chainID: *chainID, clients: map[string]*signerClient{}, keys: map[string]pubKey{}}
	if _, err := c.forChain(*chainID); err != nil {
		return err
	}
	defer func() { _ = endpoint.Stop() }()
	emit(map[string]any{"event": "listening", "addr": bound, "line": line})
	if err := c.wait(*timeout); err != nil {
		emit(map[string]any{"event": "timeout", "error": classify(err)})
		return err
	}
	emit(map[string]any{"event": "connected"})

	return eachLine(os.Stdin, func(text []byte) bool {
		var cmd clientCommand
		if err := json.Unmarshal(text, &cmd); err != nil {
			emit(map[string]any{"ok": false, "error": clientError{Kind: "harness", Message: err.Error()}})
			return true
		}
		out := map[string]any{"op": cmd.Op}
		if cmd.ID != nil {
			out["id"] = cmd.ID
		}
		var err error
		if p := guarded(func() { err = c.do(&cmd, out) }); p != "" {
			err = fmt.Errorf("panic in CometBFT's client: %s", p)
		}
		out["ok"] = err == nil
		if err != nil {
			out["error"] = classify(err)
		}
		out["connected"] = endpoint.IsConnected()
		emit(out)
		return cmd.Op != "close"
	})
}

// eachLine calls f with every line of r until f returns false or r ends.
func eachLine(r io.Reader, f func([]byte) bool) error {
	in := bufio.NewReaderSize(r, 1<<16)
	for {
		text, err := in.ReadBytes('\n')
		if len(strings.TrimSpace(string(text))) > 0 && !f(text) {
			return nil
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// classify tells an error answer of the signer (remote) from a broken connection (transport) and from an answer that makes no sense (response).
func classify(err error) clientError {
	e := clientError{Kind: "response", Message: err.Error()}
	var remote *remoteSignerError
	var netErr net.Error
	switch {
	case errors.As(err, &remote):
		e.Kind, e.Code, e.Description = "remote", remote.Code, remote.Description
	case errors.Is(err, errReadTimeout), errors.Is(err, errWriteTimeout), errors.Is(err, errConnectionTimeout):
		e.Kind, e.Timeout = "transport", true
	case errors.Is(err, errNoConnection), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		e.Kind = "transport"
	case errors.As(err, &netErr):
		e.Kind, e.Timeout = "transport", netErr.Timeout()
	case errors.As(err, new(usageError)):
		e.Kind = "harness"
	}
	return e
}

// usageError is a command that this program cannot carry out.
type usageError string

func (e usageError) Error() string { return string(e) }

func (c *client) forChain(chainID string) (*signerClient, error) {
	if sc := c.clients[chainID]; sc != nil {
		return sc, nil
	}
	sc, err := newSignerClient(c.endpoint, chainID)
	if err == nil {
		c.clients[chainID] = sc
	}
	return sc, err
}

// wait asks in short turns, because v0.34 forgets to listen again after its accept has timed out unless it is asked.
func (c *client) wait(timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		turn := min(time.Until(deadline), 300*time.Millisecond)
		err := c.endpoint.WaitForConnection(max(turn, time.Millisecond))
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func (c *client) key(sc *signerClient, chainID string) (pubKey, error) {
	if pk := c.keys[chainID]; pk != nil {
		return pk, nil
	}
	pk, err := sc.GetPubKey()
	if err != nil {
		return nil, err
	}
	c.keys[chainID] = pk
	return pk, nil
}

func (c *client) do(cmd *clientCommand, out map[string]any) error {
	chainID := c.chainID
	if cmd.ChainID != nil {
		chainID = *cmd.ChainID
	}
	sc, err := c.forChain(chainID)
	if err != nil {
		return err
	}
	timeout := 10 * time.Second
	if cmd.TimeoutMS > 0 {
		timeout = time.Duration(cmd.TimeoutMS) * time.Millisecond
	}
	timed := func(f func() error) error {
		start := time.Now()
		err := f()
		out["latency_ns"] = time.Since(start).Nanoseconds()
		return err
	}
	switch cmd.Op {
	case "close", "status":
		return nil
	case "drop":
		c.endpoint.DropConnection()
		return nil
	case "wait":
		return timed(func() error { return c.wait(timeout) })
	case "reconnect":
		c.endpoint.DropConnection()
		return timed(func() error { return c.wait(timeout) })
	case "ping":
		// Not SignerClient.Ping, which reports no error at all.
		return timed(func() error {
			res, err := c.endpoint.SendRequest(pvMessage{Sum: &sumPingRequest{PingRequest: &pvPingRequest{}}})
			if err == nil && res.GetPingResponse() == nil {
				err = errors.New("the answer is not a ping response")
			}
			return err
		})
	case "pubkey":
		var pk pubKey
		err := timed(func() (err error) { pk, err = sc.GetPubKey(); return })
		if err != nil {
			return err
		}
		c.keys[chainID] = pk
		out["pub_key"] = pubKeyToJSON(pk)
		return nil
	case "vote":
		return c.vote(cmd, out, sc, chainID, timed)
	case "proposal":
		return c.proposal(cmd, out, sc, chainID, timed)
	case "bench":
		return c.bench(cmd, out, sc, chainID)
	}
	return usageError(fmt.Sprintf("unknown op %q", cmd.Op))
}

func (c *client) verifier(cmd *clientCommand, sc *signerClient, chainID string) (pubKey, error) {
	if cmd.Verify != nil && !*cmd.Verify {
		return nil, nil
	}
	return c.key(sc, chainID)
}

func (c *client) vote(cmd *clientCommand, out map[string]any, sc *signerClient, chainID string, timed func(func() error) error) error {
	if cmd.Vote == nil {
		return usageError("op vote needs a vote")
	}
	asked, err := cmd.Vote.proto()
	if err != nil {
		return usageError(err.Error())
	}
	pk, err := c.verifier(cmd, sc, chainID)
	if err != nil {
		return err
	}
	got := *asked
	if err := timed(func() error { return signVote(sc, chainID, &got, cmd.SkipExtension) }); err != nil {
		return err
	}
	_, extSig := voteExtension(&got)
	out["signature"] = hexBytes(got.Signature)
	out["extension_signature"] = hexBytes(extSig)
	out["timestamp"] = timeJSON{got.Timestamp}
	out["timestamp_changed"] = !got.Timestamp.Equal(asked.Timestamp)
	out["vote"] = voteToJSON(&got)
	out["echoes_request"] = echoes(voteToJSON(&got), voteToJSON(asked))

	// Consensus takes over the signatures and the timestamp and keeps the rest of its own vote.
	kept := *asked
	kept.Timestamp = got.Timestamp
	out["sign_bytes"] = hexBytes(voteSignBytes(chainID, &kept))
	if pk != nil {
		out["verifies"] = pk.VerifySignature(voteSignBytes(chainID, &kept), got.Signature)
		out["verifies_returned"] = pk.VerifySignature(voteSignBytes(chainID, &got), got.Signature)
		if len(extSig) > 0 {
			out["extension_verifies"] = pk.VerifySignature(extensionSignBytes(chainID, &kept), extSig)
		}
	}
	return nil
}

func (c *client) proposal(cmd *clientCommand, out map[string]any, sc *signerClient, chainID string, timed func(func() error) error) error {
	if cmd.Proposal == nil {
		return usageError("op proposal needs a proposal")
	}
	if cmd.Proposal.Type == 0 {
		cmd.Proposal.Type = 32
	}
	asked := cmd.Proposal.proto()
	pk, err := c.verifier(cmd, sc, chainID)
	if err != nil {
		return err
	}
	got := *asked
	if err := timed(func() error { return sc.SignProposal(chainID, &got) }); err != nil {
		return err
	}
	out["signature"] = hexBytes(got.Signature)
	out["timestamp"] = timeJSON{got.Timestamp}
	out["timestamp_changed"] = !got.Timestamp.Equal(asked.Timestamp)
	out["proposal"] = proposalToJSON(&got)
	a, b := proposalToJSON(&got), proposalToJSON(asked)
	a.Signature, b.Signature, a.Timestamp, b.Timestamp = nil, nil, timeJSON{}, timeJSON{}
	out["echoes_request"] = reflect.DeepEqual(a, b)

	// Consensus takes over the signature alone.
	out["sign_bytes"] = hexBytes(proposalSignBytes(chainID, asked))
	if pk != nil {
		out["verifies"] = pk.VerifySignature(proposalSignBytes(chainID, asked), got.Signature)
		out["verifies_returned"] = pk.VerifySignature(proposalSignBytes(chainID, &got), got.Signature)
	}
	return nil
}

// echoes says whether two votes are alike apart from signatures and timestamp.
func echoes(a, b *voteJSON) bool {
	for _, v := range []*voteJSON{a, b} {
		v.Signature, v.ExtensionSignature, v.Timestamp = nil, nil, timeJSON{}
		if len(v.Extension) == 0 {
			v.Extension = nil
		}
		if len(v.ValidatorAddress) == 0 {
			v.ValidatorAddress = nil
		}
	}
	return reflect.DeepEqual(a, b)
}

func (c *client) bench(cmd *clientCommand, out map[string]any, sc *signerClient, chainID string) error {
	if cmd.Votes <= 0 || cmd.Warmup < 0 {
		return usageError("op bench needs votes > 0")
	}
	if cmd.Type == 0 {
		cmd.Type = 1
	}
	if cmd.StartHeight == 0 {
		cmd.StartHeight = 1
	}
	pk, err := c.verifier(cmd, sc, chainID)
	if err != nil {
		return err
	}
	hash := func(b byte) hexBytes {
		h := make(hexBytes, 32)
		for i := range h {
			h[i] = b
		}
		return h
	}
	total := cmd.Warmup + cmd.Votes
	latencies := make([]int64, 0, cmd.Votes)
	votes := make([]*pbVote, total)
	var begun time.Time
	for i := range votes {
		v := voteJSON{
			Type: cmd.Type, Height: cmd.StartHeight + int64(i), Timestamp: timeJSON{time.Now().UTC()},
			BlockID:          &blockIDJSON{hash(byte(i)), 1, hash(byte(i >> 8))},
			ValidatorAddress: hash(7)[:20],
		}
		if cmd.ExtensionBytes > 0 {
			v.Extension = make(hexBytes, cmd.ExtensionBytes)
		}
		if votes[i], err = v.proto(); err != nil {
			return usageError(err.Error())
		}
		if i == cmd.Warmup {
			begun = time.Now()
		}
		start := time.Now()
		if err := signVote(sc, chainID, votes[i], cmd.SkipExtension); err != nil {
			out["failed_at"] = i
			return err
		}
		if i >= cmd.Warmup {
			latencies = append(latencies, time.Since(start).Nanoseconds())
		}
		if cmd.IntervalUS > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(cmd.IntervalUS) * time.Microsecond)))
		}
	}
	out["total_ns"] = time.Since(begun).Nanoseconds()
	out["latencies_ns"] = latencies
	out["next_height"] = cmd.StartHeight + int64(total)
	if pk != nil {
		verified := 0
		for _, v := range votes {
			if pk.VerifySignature(voteSignBytes(chainID, v), v.Signature) {
				verified++
			}
		}
		out["verified"] = verified
		if verified != total {
			return fmt.Errorf("%d of %d signatures do not verify", total-verified, total)
		}
	}
	return nil
}
