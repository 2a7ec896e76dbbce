// The application interface and the in-process node of v1.0.

//go:build v10

package main

import (
	"context"

	gogotypes "github.com/cosmos/gogoproto/types"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/api/cometbft/types/v1"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/proxy"
)

type (
	abciBase                        = abci.BaseApplication
	abciInfoRequest                 = abci.InfoRequest
	abciInfoResponse                = abci.InfoResponse
	abciCheckTxRequest              = abci.CheckTxRequest
	abciCheckTxResponse             = abci.CheckTxResponse
	abciInitChainRequest            = abci.InitChainRequest
	abciInitChainResponse           = abci.InitChainResponse
	abciPrepareProposalRequest      = abci.PrepareProposalRequest
	abciPrepareProposalResponse     = abci.PrepareProposalResponse
	abciFinalizeBlockRequest        = abci.FinalizeBlockRequest
	abciFinalizeBlockResponse       = abci.FinalizeBlockResponse
	abciExtendVoteRequest           = abci.ExtendVoteRequest
	abciExtendVoteResponse          = abci.ExtendVoteResponse
	abciVerifyVoteExtensionRequest  = abci.VerifyVoteExtensionRequest
	abciVerifyVoteExtensionResponse = abci.VerifyVoteExtensionResponse
	abciCommitRequest               = abci.CommitRequest
	abciCommitResponse              = abci.CommitResponse
)

const (
	extensionAccepted = abci.VERIFY_VOTE_EXTENSION_STATUS_ACCEPT
	extensionRejected = abci.VERIFY_VOTE_EXTENSION_STATUS_REJECT
)

// extensionsFrom is the update of the consensus parameters that turns vote extensions on.
func extensionsFrom(height int64) *cmtproto.ConsensusParams {
	return &cmtproto.ConsensusParams{Feature: &cmtproto.FeatureParams{
		VoteExtensionsEnableHeight: &gogotypes.Int64Value{Value: height},
	}}
}

func setExtensionsHeight(d *genesisDoc, height int64) error {
	d.ConsensusParams.Feature.VoteExtensionsEnableHeight = height
	return nil
}

func newNode(c *nodeConfig, pv *filePV, key *p2p.NodeKey, app *application, log logger) (*node.Node, error) {
	return node.NewNode(context.Background(), c, pv, key, proxy.NewLocalClientCreator(app), node.DefaultGenesisDocProviderFunc(c),
		config.DefaultDBProvider, node.DefaultMetricsProvider(c.Instrumentation), log)
}
