// The names that the shared files use, bound to the packages of v1.0, whose protos live in the api module.

//go:build v10

package main

import (
	"os"

	pvproto "github.com/cometbft/cometbft/api/cometbft/privval/v1"
	cmtproto "github.com/cometbft/cometbft/api/cometbft/types/v1"
	cfg "github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cryptoenc "github.com/cometbft/cometbft/crypto/encoding"
	"github.com/cometbft/cometbft/crypto/secp256k1"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmtlog "github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/p2p"
	p2pconn "github.com/cometbft/cometbft/p2p/conn"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/types"
)

type (
	pbVote          = cmtproto.Vote
	pbProposal      = cmtproto.Proposal
	pbBlockID       = cmtproto.BlockID
	pbPartSetHeader = cmtproto.PartSetHeader
	pbSignedMsgType = cmtproto.SignedMsgType

	pvMessage                = pvproto.Message
	pvPubKeyRequest          = pvproto.PubKeyRequest
	pvSignVoteRequest        = pvproto.SignVoteRequest
	pvSignedVoteResponse     = pvproto.SignedVoteResponse
	pvSignProposalRequest    = pvproto.SignProposalRequest
	pvSignedProposalResponse = pvproto.SignedProposalResponse
	pvPingRequest            = pvproto.PingRequest
	pvPingResponse           = pvproto.PingResponse
	pvRemoteSignerError      = pvproto.RemoteSignerError

	sumPubKeyRequest          = pvproto.Message_PubKeyRequest
	sumPubKeyResponse         = pvproto.Message_PubKeyResponse
	sumSignVoteRequest        = pvproto.Message_SignVoteRequest
	sumSignedVoteResponse     = pvproto.Message_SignedVoteResponse
	sumSignProposalRequest    = pvproto.Message_SignProposalRequest
	sumSignedProposalResponse = pvproto.Message_SignedProposalResponse
	sumPingRequest            = pvproto.Message_PingRequest
	sumPingResponse           = pvproto.Message_PingResponse

	pubKey            = crypto.PubKey
	privKey           = crypto.PrivKey
	logger            = cmtlog.Logger
	signerClient      = privval.SignerClient
	signerEndpoint    = privval.SignerListenerEndpoint
	remoteSignerError = privval.RemoteSignerError
	filePV            = privval.FilePV
	nodeConfig        = cfg.Config
	genesisDoc        = types.GenesisDoc
	genesisValidator  = types.GenesisValidator
)

var (
	voteSignBytes     = types.VoteSignBytes
	proposalSignBytes = types.ProposalSignBytes
	voteFromProto     = types.VoteFromProto
	proposalFromProto = types.ProposalFromProto

	newSignerClient           = privval.NewSignerClient
	newSignerListenerEndpoint = privval.NewSignerListenerEndpoint
	newTCPListener            = privval.NewTCPListener
	newUnixListener           = privval.NewUnixListener
	newSignerDialerEndpoint   = privval.NewSignerDialerEndpoint
	newSignerServer           = privval.NewSignerServer
	dialTCPFn                 = privval.DialTCPFn
	dialUnixFn                = privval.DialUnixFn
	dialerConnRetries         = privval.SignerDialerEndpointConnRetries
	dialerRetryWait           = privval.SignerDialerEndpointRetryWaitInterval
	newFilePV                 = privval.NewFilePV
	loadFilePV                = privval.LoadFilePV
	loadFilePVEmptyState      = privval.LoadFilePVEmptyState
	answerRequest             = privval.DefaultValidationRequestHandler
	errConnectionTimeout      = privval.ErrConnectionTimeout
	errNoConnection           = privval.ErrNoConnection
	errReadTimeout            = privval.ErrReadTimeout
	errWriteTimeout           = privval.ErrWriteTimeout

	genEd25519           = ed25519.GenPrivKey
	ed25519FromSecret    = ed25519.GenPrivKeyFromSecret
	genSecp256k1         = secp256k1.GenPrivKey
	secp256k1FromSecret  = secp256k1.GenPrivKeySecp256k1
	makeSecretConnection = p2pconn.MakeSecretConnection
	marshalJSON          = cmtjson.MarshalIndent
	unmarshalJSON        = cmtjson.Unmarshal
	keyTypeNames         = types.ABCIPubKeyTypesToNames

	defaultConfig          = cfg.DefaultConfig
	writeConfigFile        = cfg.WriteConfigFile
	loadOrGenNodeKey       = p2p.LoadOrGenNodeKey
	defaultConsensusParams = types.DefaultConsensusParams
)

func newLogger(verbose bool) logger {
	if !verbose {
		return cmtlog.NewNopLogger()
	}
	return cmtlog.NewTMLogger(cmtlog.NewSyncWriter(os.Stderr))
}

// signVote is the client's call; the node of this line says whether the extension is to be signed.
func signVote(c *signerClient, chainID string, v *pbVote, skipExtension bool) error {
	return c.SignVote(chainID, v, !skipExtension)
}

func signVoteLocally(pv *filePV, chainID string, v *pbVote) error {
	return pv.SignVote(chainID, v, true)
}

func newSignVoteRequest(chainID string, v *pbVote, skipExtension bool) *pvSignVoteRequest {
	return &pvSignVoteRequest{Vote: v, ChainId: chainID, SkipExtensionSigning: skipExtension}
}

func skipsExtension(r *pvSignVoteRequest) bool { return r.SkipExtensionSigning }

func newPubKeyResponse(pk pubKey, e *pvRemoteSignerError) (pvMessage, error) {
	r := &pvproto.PubKeyResponse{Error: e}
	if pk != nil {
		r.PubKeyBytes, r.PubKeyType = pk.Bytes(), pk.Type()
	}
	return pvMessage{Sum: &sumPubKeyResponse{PubKeyResponse: r}}, nil
}

func readPubKeyResponse(s *sumPubKeyResponse) (pubKey, *pvRemoteSignerError, error) {
	r := s.PubKeyResponse
	if r.Error != nil {
		return nil, r.Error, nil
	}
	pk, err := cryptoenc.PubKeyFromTypeAndBytes(r.PubKeyType, r.PubKeyBytes)
	return pk, nil, err
}

// moreMessages are the messages that only some lines have: v1's SignBytes, which its node never sends.
func moreMessages() map[string]pvMessage {
	return map[string]pvMessage{
		"sign_bytes_request": {Sum: &pvproto.Message_SignBytesRequest{
			SignBytesRequest: &pvproto.SignBytesRequest{Value: []byte{1, 2, 3}},
		}},
		"sign_bytes_response": {Sum: &pvproto.Message_SignBytesResponse{
			SignBytesResponse: &pvproto.SignBytesResponse{Signature: []byte{4, 5, 6}},
		}},
		"sign_bytes_response_error": {Sum: &pvproto.Message_SignBytesResponse{
			SignBytesResponse: &pvproto.SignBytesResponse{Error: &pvRemoteSignerError{Code: 1, Description: "it's a error"}},
		}},
	}
}

func describeMore(m *pvMessage) (string, map[string]any) {
	switch s := m.Sum.(type) {
	case *pvproto.Message_SignBytesRequest:
		return "sign_bytes_request", map[string]any{"value": hexBytes(s.SignBytesRequest.GetValue())}
	case *pvproto.Message_SignBytesResponse:
		r := s.SignBytesResponse
		return "sign_bytes_response", map[string]any{
			"signature": hexBytes(r.GetSignature()), "error": errorFromProto(r.GetError()),
		}
	}
	return "", nil
}
