// The testnet subcommand: home folders of a chain whose nodes all live on loopback.
package main

import (
	"encoding/base64"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

type testnetNode struct {
	Index         int         `json:"index"`
	Home          string      `json:"home"`
	NodeID        string      `json:"node_id"`
	P2P           string      `json:"p2p"`
	RPC           string      `json:"rpc"`
	PrivvalLaddr  string      `json:"privval_laddr,omitempty"`
	PubKey        *pubKeyJSON `json:"pub_key"`
	SignerKeyFile string      `json:"signer_key_file,omitempty"`
}

// loopbackPorts gives n ports: base and up, or free ones when base is 0.
func loopbackPorts(base, n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		ports[i] = base + i
		if base == 0 {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			defer ln.Close()
			ports[i] = ln.Addr().(*net.TCPAddr).Port
		}
	}
	if last := ports[n-1]; base != 0 && last > 65535 {
		return nil, fmt.Errorf("port %d is out of range", last)
	}
	return ports, nil
}

func runTestnet(args []string) error {
	fs := flag.NewFlagSet("testnet", flag.ContinueOnError)
	out := fs.String("out", "", "folder for the homes; must not hold any yet")
	n := fs.Int("validators", 1, "how many validators")
	chainID := fs.String("chain-id", "testnet", "the chain")
	base := fs.Int("laddr-base", 0, "first port: node i takes base+2i for p2p and base+2i+1 for RPC; 0 takes free ports")
	signer := fs.Int("signer-validator", 0, "the validator that uses the remote signer (with --privval-laddr)")
	laddr := fs.String("privval-laddr", "", "its priv_validator_laddr")
	pub := fs.String("pubkey", "", "its public key, TYPE:BASE64; without it a key is made in OUT/signer/priv_validator_key.json")
	kind := fs.String("key-type", "ed25519", "type of the keys that are made: "+keyNames())
	fast := fs.Bool("fast", false, "short timeouts: some ten blocks a second")
	extensions := fs.Int64("extensions-at", 0, "turn vote extensions on in the genesis at this height")
	initial := fs.Int64("initial-height", 1, "the chain's first height")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *out == "" || *n < 1 || *signer < 0 || *signer >= *n {
		return usageError("--out, --validators ≥ 1 and a --signer-validator below it are needed")
	}
	if *pub != "" && *laddr == "" {
		return usageError("--pubkey needs --privval-laddr")
	}
	k, err := kindOf(*kind)
	if err != nil {
		return err
	}
	ports, err := loopbackPorts(*base, 2**n)
	if err != nil {
		return err
	}
	root, err := filepath.Abs(*out)
	if err != nil {
		return err
	}

	params := defaultConsensusParams()
	genesis := genesisDoc{
		ChainID: *chainID, GenesisTime: time.Now().UTC(), InitialHeight: *initial, ConsensusParams: params,
	}
	if *extensions != 0 {
		if err := setExtensionsHeight(&genesis, *extensions); err != nil {
			return err
		}
	}
	nodes := make([]testnetNode, *n)
	peers := make([]string, *n)
	keyTypes := map[string]bool{}
	for i := range nodes {
		home := filepath.Join(root, fmt.Sprintf("node%d", i))
		if _, err := os.Stat(home); err == nil {
			return fmt.Errorf("%s is there already", home)
		}
		node := testnetNode{
			Index: i, Home: home,
			P2P: fmt.Sprintf("tcp://127.0.0.1:%d", ports[2*i]), RPC: fmt.Sprintf("http://127.0.0.1:%d", ports[2*i+1]),
		}
		for _, dir := range []string{"config", "data"} {
			if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
				return err
			}
		}
		c := defaultConfig().SetRoot(home)
		nodeKey, err := loadOrGenNodeKey(c.NodeKeyFile())
		if err != nil {
			return err
		}
		node.NodeID = string(nodeKey.ID())
		keyPath, statePath := c.PrivValidatorKeyFile(), c.PrivValidatorStateFile()
		var pk pubKey
		if *laddr != "" && i == *signer {
			node.PrivvalLaddr = *laddr
			keyPath = filepath.Join(root, "signer", "priv_validator_key.json")
			statePath = filepath.Join(root, "signer", "priv_validator_state.json")
			if *pub != "" {
				keyPath = ""
				if pk, err = parsePubKey(*pub); err != nil {
					return err
				}
			} else {
				node.SignerKeyFile = keyPath
			}
		}
		if keyPath != "" {
			pv, err := openFilePV(keyPath, statePath, k.name)
			if err != nil {
				return err
			}
			pk = pv.Key.PubKey
		}
		node.PubKey = pubKeyToJSON(pk)
		keyTypes[pk.Type()] = true
		genesis.Validators = append(genesis.Validators, genesisValidator{
			Address: pk.Address(), PubKey: pk, Power: 10, Name: fmt.Sprintf("node%d", i),
		})
		peers[i] = fmt.Sprintf("%s@127.0.0.1:%d", node.NodeID, ports[2*i])
		nodes[i] = node
	}
	params.Validator.PubKeyTypes = nil
	for name := range keyTypes {
		params.Validator.PubKeyTypes = append(params.Validator.PubKeyTypes, name)
	}
	sort.Strings(params.Validator.PubKeyTypes)
	if err := genesis.ValidateAndComplete(); err != nil {
		return err
	}
	for i, node := range nodes {
		c := defaultConfig().SetRoot(node.Home)
		if err := genesis.SaveAs(c.GenesisFile()); err != nil {
			return err
		}
		c.Moniker = fmt.Sprintf("node%d", i)
		c.PrivValidatorListenAddr = node.PrivvalLaddr
		c.P2P.ListenAddress = node.P2P
		c.P2P.AddrBookStrict = false
		c.P2P.AllowDuplicateIP = true
		c.P2P.PersistentPeers = strings.Join(append(append([]string{}, peers[:i]...), peers[i+1:]...), ",")
		c.P2P.PexReactor = false
		c.RPC.ListenAddress = fmt.Sprintf("tcp://127.0.0.1:%d", ports[2*i+1])
		c.RPC.PprofListenAddress = ""
		c.Instrumentation.Prometheus = false
		c.Consensus.CreateEmptyBlocks = true
		if *fast {
			c.P2P.FlushThrottleTimeout = 10 * time.Millisecond
			c.Consensus.PeerGossipSleepDuration = 10 * time.Millisecond
			c.Consensus.PeerQueryMaj23SleepDuration = 250 * time.Millisecond
			c.Consensus.TimeoutPropose = time.Second
			c.Consensus.TimeoutProposeDelta = 200 * time.Millisecond
			c.Consensus.TimeoutPrevote = 250 * time.Millisecond
			c.Consensus.TimeoutPrevoteDelta = 100 * time.Millisecond
			c.Consensus.TimeoutPrecommit = 250 * time.Millisecond
			c.Consensus.TimeoutPrecommitDelta = 100 * time.Millisecond
			c.Consensus.TimeoutCommit = 75 * time.Millisecond
		}
		if err := c.ValidateBasic(); err != nil {
			return err
		}
		writeConfigFile(filepath.Join(node.Home, "config", "config.toml"), c)
	}
	emit(map[string]any{"chain_id": *chainID, "line": line, "out": root, "initial_height": *initial, "nodes": nodes})
	return nil
}

func parsePubKey(text string) (pubKey, error) {
	kind, value, ok := strings.Cut(text, ":")
	if !ok {
		return nil, fmt.Errorf("public key %q: want TYPE:BASE64", text)
	}
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return nil, err
	}
	return publicKey(&keyRef{kind, raw})
}
