// The Ethereum-style secp256k1 key type, of v0.40.

//go:build v040

package main

import "github.com/cometbft/cometbft/crypto/secp256k1eth"

func init() {
	keyKinds = append(keyKinds, keyKind{
		name:       secp256k1eth.KeyType,
		random:     func() (privKey, error) { return secp256k1eth.GenPrivKey(), nil },
		fromSecret: func(secret []byte) (privKey, error) { return secp256k1eth.GenPrivKeySecp256k1Eth(secret), nil },
	})
}
