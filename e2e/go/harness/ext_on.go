// Vote extensions for the lines that have them.

//go:build v038 || v039 || v040 || v10

package main

import "github.com/cometbft/cometbft/types"

const hasExtensions = true

func voteExtension(v *pbVote) (ext, sig []byte) { return v.Extension, v.ExtensionSignature }

func setVoteExtension(v *pbVote, ext, sig []byte) error {
	v.Extension, v.ExtensionSignature = ext, sig
	return nil
}

func extensionSignBytes(chainID string, v *pbVote) []byte {
	return types.VoteExtensionSignBytes(chainID, v)
}
