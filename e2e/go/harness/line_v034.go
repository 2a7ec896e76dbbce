// The names that the shared files use, bound to the packages of v0.34, which still calls itself tendermint.

//go:build v034

package main

import (
	"os"

	cfg "github.com/tendermint/tendermint/config"
	"github.com/tendermint/tendermint/crypto"
	"github.com/tendermint/tendermint/crypto/ed25519"
	cryptoenc "github.com/tendermint/tendermint/crypto/encoding"
	"github.com/tendermint/tendermint/crypto/secp256k1"
	cmtjson "github.com/tendermint/tendermint/libs/json"
	cmtlog "github.com/tendermint/tendermint/libs/log"
	"github.com/tendermint/tendermint/p2p"
	p2pconn "github.com/tendermint/tendermint/p2p/conn"
	"github.com/tendermint/tendermint/privval"
	pvproto "github.com/tendermint/tendermint/proto/tendermint/privval"
	cmtproto "github.com/tendermint/tendermint/proto/tendermint/types"
	"github.com/tendermint/tendermint/types"
)

type (
	pbVote          = cmtproto.Vote
	pbProposal      = cmtproto.Proposal
	pbBlockID       = cmtproto.BlockID
	pbPartSetHeader = cmtproto.PartSetHeader
	pbSignedMsgType = cmtproto.SignedMsgType

	pvMessage                = pvproto.Message
	pvPubKeyRequest          = pvproto.PubKeyRequest
	pvPubKeyResponse         = pvproto.PubKeyResponse
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

	pubKeyToProto             = cryptoenc.PubKeyToProto
	pubKeyFromProto           = cryptoenc.PubKeyFromProto
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
