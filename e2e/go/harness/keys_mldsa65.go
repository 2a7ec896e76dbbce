// The ML-DSA-65 key type, of late v0.38 and v0.40.

//go:build v038 || v040

package main

import (
	"crypto/sha256"

	"github.com/cometbft/cometbft/crypto/mldsa65"
)

func init() {
	keyKinds = append(keyKinds, keyKind{
		name:   mldsa65.KeyType,
		random: func() (privKey, error) { return mldsa65.GenPrivKey() },
		fromSecret: func(secret []byte) (privKey, error) {
			seed := sha256.Sum256(secret)
			return mldsa65.GenPrivKeyFromSeed(seed[:])
		},
	})
}
