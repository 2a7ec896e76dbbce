// The oracle subcommand: what Go makes of a message, line by line, for differential tests.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
)

type oracleRequest struct {
	Kind      string   `json:"kind"`
	ID        any      `json:"id"`
	Hex       hexBytes `json:"hex"`
	ChainID   *string  `json:"chain_id"`
	PubKey    *keyRef  `json:"pub_key"`
	Signature hexBytes `json:"signature"`
}

type keyRef struct {
	Type  string   `json:"type"`
	Value hexBytes `json:"value"`
}

func runOracle(args []string) error {
	fs := flag.NewFlagSet("oracle", flag.ContinueOnError)
	if err := parse(fs, args); err != nil {
		return err
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for {
		text, err := in.ReadBytes('\n')
		if len(text) > 1 {
			var answer map[string]any
			if p := guarded(func() { answer = oracleAnswer(text) }); p != "" {
				answer = map[string]any{"panic": p, "panic_in": "oracle"}
			}
			if err := enc.Encode(answer); err != nil {
				return err
			}
		}
		// Answers are held back only while more questions are already here, so a caller that asks one by one is served too.
		if in.Buffered() == 0 || err != nil {
			if err := out.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func oracleAnswer(text []byte) map[string]any {
	var req oracleRequest
	if err := json.Unmarshal(text, &req); err != nil {
		return map[string]any{"harness_error": err.Error()}
	}
	var answer map[string]any
	switch req.Kind {
	case "message", "":
		answer = describeBytes(req.Hex, req.ChainID)
	case "verify":
		answer = map[string]any{}
		pk, err := publicKey(req.PubKey)
		if err != nil {
			answer["key_error"] = err.Error()
			break
		}
		if p := guarded(func() { answer["valid"] = pk.VerifySignature(req.Hex, req.Signature) }); p != "" {
			answer["panic"], answer["panic_in"] = p, "verify"
		}
	default:
		answer = map[string]any{"harness_error": "unknown kind " + req.Kind}
	}
	if req.ID != nil {
		answer["id"] = req.ID
	}
	return answer
}

// publicKey goes through JSON, the one way to a key of any type that every line has.
func publicKey(ref *keyRef) (pubKey, error) {
	if ref == nil {
		return nil, errors.New("no pub_key")
	}
	name, ok := keyTypeNames[ref.Type]
	if !ok {
		return nil, errors.New("this line has no key type " + ref.Type)
	}
	text, err := json.Marshal(map[string]any{"type": name, "value": []byte(ref.Value)})
	if err != nil {
		return nil, err
	}
	var pk pubKey
	if err := unmarshalJSON(text, &pk); err != nil {
		return nil, err
	}
	if want, ok := pubKeySizes[ref.Type]; ok && len(ref.Value) != want {
		return nil, errors.New("wrong length of a " + ref.Type + " key")
	}
	return pk, nil
}

// describeBytes decodes an undelimited Message and says all that a node would make of it.
func describeBytes(raw []byte, chainID *string) map[string]any {
	out := map[string]any{}
	var m pvMessage
	var err error
	if p := guarded(func() { err = m.Unmarshal(raw) }); p != "" {
		return map[string]any{"panic": p, "panic_in": "decode"}
	}
	if err != nil {
		return map[string]any{"decode_error": err.Error()}
	}
	stage := "describe"
	if p := guarded(func() { describeMessage(&m, chainID, out, &stage) }); p != "" {
		out["panic"], out["panic_in"] = p, stage
	}
	if p := guarded(func() {
		again, err := m.Marshal()
		if err != nil {
			out["encode_error"] = err.Error()
			return
		}
		out["reencoded"] = hexBytes(again)
	}); p != "" {
		out["encode_error"] = "panic: " + p
	}
	return out
}

func describeMessage(m *pvMessage, override *string, out map[string]any, stage *string) {
	chain := func(own string) string {
		out["chain_id"], out["chain_id_hex"] = own, hexBytes(own)
		if override != nil {
			return *override
		}
		return own
	}
	switch s := m.Sum.(type) {
	case nil:
		out["type"] = nil
	case *sumPubKeyRequest:
		out["type"] = "pub_key_request"
		chain(s.PubKeyRequest.GetChainId())
	case *sumPubKeyResponse:
		out["type"] = "pub_key_response"
		pk, remote, err := readPubKeyResponse(s)
		out["pub_key"], out["error"] = pubKeyToJSON(pk), errorFromProto(remote)
		if err != nil {
			out["key_error"] = err.Error()
		}
	case *sumSignVoteRequest:
		r := s.SignVoteRequest
		out["type"] = "sign_vote_request"
		out["skip_extension_signing"] = skipsExtension(r)
		describeVote(r.Vote, chain(r.ChainId), out, stage)
	case *sumSignedVoteResponse:
		r := s.SignedVoteResponse
		out["type"] = "signed_vote_response"
		out["error"] = errorFromProto(r.Error)
		if override != nil {
			describeVote(&r.Vote, *override, out, stage)
		} else {
			out["vote"] = voteToJSON(&r.Vote)
		}
	case *sumSignProposalRequest:
		r := s.SignProposalRequest
		out["type"] = "sign_proposal_request"
		describeProposal(r.Proposal, chain(r.ChainId), out, stage)
	case *sumSignedProposalResponse:
		r := s.SignedProposalResponse
		out["type"] = "signed_proposal_response"
		out["error"] = errorFromProto(r.Error)
		if override != nil {
			describeProposal(&r.Proposal, *override, out, stage)
		} else {
			out["proposal"] = proposalToJSON(&r.Proposal)
		}
	case *sumPingRequest:
		out["type"] = "ping_request"
	case *sumPingResponse:
		out["type"] = "ping_response"
	default:
		kind, more := describeMore(m)
		out["type"] = kind
		for k, v := range more {
			out[k] = v
		}
	}
}

// dummySignature stands in for the signature that a request lacks, so that ValidateBasic judges the rest.
var dummySignature = make([]byte, 64)

func describeVote(v *pbVote, chainID string, out map[string]any, stage *string) {
	out["vote"] = voteToJSON(v)
	if v == nil {
		return
	}
	*stage = "validate_basic"
	valid := *v
	if len(valid.Signature) == 0 {
		valid.Signature = dummySignature
	}
	if ext, sig := voteExtension(&valid); len(ext) > 0 && len(sig) == 0 {
		_ = setVoteExtension(&valid, ext, dummySignature)
	}
	out["validate_basic"] = ""
	if p := guarded(func() {
		checked, err := voteFromProto(&valid)
		if err == nil {
			err = checked.ValidateBasic()
		}
		if err != nil {
			out["validate_basic"] = err.Error()
		}
	}); p != "" {
		out["validate_basic"] = "panic: " + p
	}
	*stage = "sign_bytes"
	out["sign_bytes"] = hexBytes(voteSignBytes(chainID, v))
	*stage = "extension_sign_bytes"
	if hasExtensions {
		out["extension_sign_bytes"] = hexBytes(extensionSignBytes(chainID, v))
	}
}

func describeProposal(p *pbProposal, chainID string, out map[string]any, stage *string) {
	out["proposal"] = proposalToJSON(p)
	if p == nil {
		return
	}
	*stage = "validate_basic"
	valid := *p
	if len(valid.Signature) == 0 {
		valid.Signature = dummySignature
	}
	out["validate_basic"] = ""
	if panicked := guarded(func() {
		checked, err := proposalFromProto(&valid)
		if err == nil {
			err = checked.ValidateBasic()
		}
		if err != nil {
			out["validate_basic"] = err.Error()
		}
	}); panicked != "" {
		out["validate_basic"] = "panic: " + panicked
	}
	*stage = "sign_bytes"
	out["sign_bytes"] = hexBytes(proposalSignBytes(chainID, p))
}
