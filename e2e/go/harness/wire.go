// The JSON forms of votes, proposals and errors, and how they become the line's own types.
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// hexBytes is a byte string that JSON shows as lower-case hex.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) {
	return []byte(hex.EncodeToString(h)), nil
}

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// MarshalJSON is needed beside MarshalText, which encoding/json skips for a nil slice.
func (h hexBytes) MarshalJSON() ([]byte, error) {
	return json.Marshal(hex.EncodeToString(h))
}

// timeJSON is shown as seconds and nanoseconds since 1970 beside RFC 3339, and read from either form.
type timeJSON struct{ time.Time }

type timeParts struct {
	Seconds int64  `json:"seconds"`
	Nanos   int64  `json:"nanos"`
	RFC3339 string `json:"rfc3339,omitempty"`
}

func (t timeJSON) MarshalJSON() ([]byte, error) {
	return json.Marshal(timeParts{t.Unix(), int64(t.Nanosecond()), t.UTC().Format(time.RFC3339Nano)})
}

func (t *timeJSON) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte{'"'}) {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		parsed, err := time.Parse(time.RFC3339Nano, s)
		t.Time = parsed.UTC()
		return err
	}
	var p timeParts
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	t.Time = time.Unix(p.Seconds, p.Nanos).UTC()
	return nil
}

type blockIDJSON struct {
	Hash       hexBytes `json:"hash"`
	PartsTotal uint32   `json:"parts_total"`
	PartsHash  hexBytes `json:"parts_hash"`
}

type voteJSON struct {
	Type               int32        `json:"type"`
	Height             int64        `json:"height"`
	Round              int32        `json:"round"`
	BlockID            *blockIDJSON `json:"block_id"`
	Timestamp          timeJSON     `json:"timestamp"`
	ValidatorAddress   hexBytes     `json:"validator_address"`
	ValidatorIndex     int32        `json:"validator_index"`
	Signature          hexBytes     `json:"signature"`
	Extension          hexBytes     `json:"extension"`
	ExtensionSignature hexBytes     `json:"extension_signature"`
}

type proposalJSON struct {
	Type      int32        `json:"type"`
	Height    int64        `json:"height"`
	Round     int32        `json:"round"`
	POLRound  int32        `json:"pol_round"`
	BlockID   *blockIDJSON `json:"block_id"`
	Timestamp timeJSON     `json:"timestamp"`
	Signature hexBytes     `json:"signature"`
}

func (b *blockIDJSON) proto() pbBlockID {
	if b == nil {
		return pbBlockID{}
	}
	return pbBlockID{Hash: b.Hash, PartSetHeader: pbPartSetHeader{Total: b.PartsTotal, Hash: b.PartsHash}}
}

func blockIDFromProto(b pbBlockID) *blockIDJSON {
	if len(b.Hash) == 0 && b.PartSetHeader.Total == 0 && len(b.PartSetHeader.Hash) == 0 {
		return nil
	}
	return &blockIDJSON{b.Hash, b.PartSetHeader.Total, b.PartSetHeader.Hash}
}

func (v voteJSON) proto() (*pbVote, error) {
	p := &pbVote{
		Type:             pbSignedMsgType(v.Type),
		Height:           v.Height,
		Round:            v.Round,
		BlockID:          v.BlockID.proto(),
		Timestamp:        v.Timestamp.Time,
		ValidatorAddress: v.ValidatorAddress,
		ValidatorIndex:   v.ValidatorIndex,
		Signature:        v.Signature,
	}
	return p, setVoteExtension(p, v.Extension, v.ExtensionSignature)
}

func voteToJSON(p *pbVote) *voteJSON {
	if p == nil {
		return nil
	}
	ext, sig := voteExtension(p)
	return &voteJSON{
		Type:               int32(p.Type),
		Height:             p.Height,
		Round:              p.Round,
		BlockID:            blockIDFromProto(p.BlockID),
		Timestamp:          timeJSON{p.Timestamp},
		ValidatorAddress:   p.ValidatorAddress,
		ValidatorIndex:     p.ValidatorIndex,
		Signature:          p.Signature,
		Extension:          ext,
		ExtensionSignature: sig,
	}
}

func (p proposalJSON) proto() *pbProposal {
	return &pbProposal{
		Type:      pbSignedMsgType(p.Type),
		Height:    p.Height,
		Round:     p.Round,
		PolRound:  p.POLRound,
		BlockID:   p.BlockID.proto(),
		Timestamp: p.Timestamp.Time,
		Signature: p.Signature,
	}
}

func proposalToJSON(p *pbProposal) *proposalJSON {
	if p == nil {
		return nil
	}
	return &proposalJSON{
		Type:      int32(p.Type),
		Height:    p.Height,
		Round:     p.Round,
		POLRound:  p.PolRound,
		BlockID:   blockIDFromProto(p.BlockID),
		Timestamp: timeJSON{p.Timestamp},
		Signature: p.Signature,
	}
}

type signerErrorJSON struct {
	Code        int32  `json:"code"`
	Description string `json:"description"`
}

func errorFromProto(e *pvRemoteSignerError) *signerErrorJSON {
	if e == nil {
		return nil
	}
	return &signerErrorJSON{e.Code, e.Description}
}

type pubKeyJSON struct {
	Type    string   `json:"type"`
	Value   hexBytes `json:"value"`
	Address hexBytes `json:"address"`
}

func pubKeyToJSON(pk pubKey) *pubKeyJSON {
	if pk == nil {
		return nil
	}
	return &pubKeyJSON{pk.Type(), pk.Bytes(), hexBytes(pk.Address())}
}

// guarded calls f and turns a panic into an error, because several of CometBFT's encoders panic on odd input.
func guarded(f func()) (panicked string) {
	defer func() {
		if r := recover(); r != nil {
			panicked = fmt.Sprint(r)
			if panicked == "" {
				panicked = "panic without a message"
			}
		}
	}()
	f()
	return ""
}
