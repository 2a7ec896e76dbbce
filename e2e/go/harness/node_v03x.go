// The application interface and the in-process node of v0.38 to v0.40.

//go:build v038 || v039 || v040

package main

import (
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/proxy"
)

type (
	abciBase                        = abci.BaseApplication
	abciInfoRequest                 = abci.RequestInfo
	abciInfoResponse                = abci.ResponseInfo
	abciCheckTxRequest              = abci.RequestCheckTx
	abciCheckTxResponse             = abci.ResponseCheckTx
	abciInitChainRequest            = abci.RequestInitChain
	abciInitChainResponse           = abci.ResponseInitChain
	abciPrepareProposalRequest      = abci.RequestPrepareProposal
	abciPrepareProposalResponse     = abci.ResponsePrepareProposal
	abciFinalizeBlockRequest        = abci.RequestFinalizeBlock
	abciFinalizeBlockResponse       = abci.ResponseFinalizeBlock
	abciExtendVoteRequest           = abci.RequestExtendVote
	abciExtendVoteResponse          = abci.ResponseExtendVote
	abciVerifyVoteExtensionRequest  = abci.RequestVerifyVoteExtension
	abciVerifyVoteExtensionResponse = abci.ResponseVerifyVoteExtension
	abciCommitRequest               = abci.RequestCommit
	abciCommitResponse              = abci.ResponseCommit
)

const (
	extensionAccepted = abci.ResponseVerifyVoteExtension_ACCEPT
	extensionRejected = abci.ResponseVerifyVoteExtension_REJECT
)

// extensionsFrom is the update of the consensus parameters that turns vote extensions on.
func extensionsFrom(height int64) *cmtproto.ConsensusParams {
	return &cmtproto.ConsensusParams{Abci: &cmtproto.ABCIParams{VoteExtensionsEnableHeight: height}}
}

func setExtensionsHeight(d *genesisDoc, height int64) error {
	d.ConsensusParams.ABCI.VoteExtensionsEnableHeight = height
	return nil
}

func newNode(c *nodeConfig, pv *filePV, key *p2p.NodeKey, app *application, log logger) (*node.Node, error) {
	return node.NewNode(c, pv, key, proxy.NewLocalClientCreator(app), node.DefaultGenesisDocProviderFunc(c),
		config.DefaultDBProvider, node.DefaultMetricsProvider(c.Instrumentation), log)
}
