// Vote extensions for the lines that have none: votes that carry one are refused before they are sent.

//go:build v034 || v037

package main

import "errors"

const hasExtensions = false

var errNoExtensions = errors.New("this line has no vote extensions")

func voteExtension(*pbVote) (ext, sig []byte) { return nil, nil }

func setVoteExtension(_ *pbVote, ext, sig []byte) error {
	if len(ext)+len(sig) > 0 {
		return errNoExtensions
	}
	return nil
}

func extensionSignBytes(string, *pbVote) []byte { return nil }

func setExtensionsHeight(_ *genesisDoc, height int64) error {
	if height != 0 {
		return errNoExtensions
	}
	return nil
}
