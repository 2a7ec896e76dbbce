// What v0.34 to v0.40 share in their protos and calls, and v1 does otherwise (line_v10.go).

//go:build v034 || v037 || v038 || v039 || v040

package main

import "errors"

// signVote is the client's call; this line has no skip_extension_signing.
func signVote(c *signerClient, chainID string, v *pbVote, skipExtension bool) error {
	if skipExtension {
		return errors.New("skip_extension_signing is not in this line's protocol")
	}
	return c.SignVote(chainID, v)
}

func signVoteLocally(pv *filePV, chainID string, v *pbVote) error { return pv.SignVote(chainID, v) }

func newSignVoteRequest(chainID string, v *pbVote, skipExtension bool) *pvSignVoteRequest {
	return &pvSignVoteRequest{Vote: v, ChainId: chainID}
}

func skipsExtension(*pvSignVoteRequest) bool { return false }

func newPubKeyResponse(pk pubKey, e *pvRemoteSignerError) (pvMessage, error) {
	r := &pvPubKeyResponse{Error: e}
	if pk != nil {
		p, err := pubKeyToProto(pk)
		if err != nil {
			return pvMessage{}, err
		}
		r.PubKey = p
	}
	return pvMessage{Sum: &sumPubKeyResponse{PubKeyResponse: r}}, nil
}

func readPubKeyResponse(s *sumPubKeyResponse) (pubKey, *pvRemoteSignerError, error) {
	r := s.PubKeyResponse
	if r.Error != nil {
		return nil, r.Error, nil
	}
	pk, err := pubKeyFromProto(r.PubKey)
	return pk, nil, err
}

// moreMessages are the messages that only some lines have: none here.
func moreMessages() map[string]pvMessage { return nil }

func describeMore(*pvMessage) (string, map[string]any) { return "", nil }
