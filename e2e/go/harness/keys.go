// Key types of the line, key files and the genkey subcommand.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

type keyKind struct {
	name       string
	random     func() (privKey, error)
	fromSecret func(secret []byte) (privKey, error)
}

// keyKinds begins with the types of every line; keys_*.go add those of some. BLS12-381 needs a build tag and cgo, and stock nodes leave it out.
var keyKinds = []keyKind{
	{
		name:       "ed25519",
		random:     func() (privKey, error) { return genEd25519(), nil },
		fromSecret: func(secret []byte) (privKey, error) { return ed25519FromSecret(secret), nil },
	},
	{
		name:       "secp256k1",
		random:     func() (privKey, error) { return genSecp256k1(), nil },
		fromSecret: func(secret []byte) (privKey, error) { return secp256k1FromSecret(secret), nil },
	},
}

// pubKeySizes guards the types whose JSON decoder takes any length.
var pubKeySizes = map[string]int{"ed25519": 32, "secp256k1": 33, "secp256k1eth": 33}

func keyNames() string {
	names := make([]string, 0, len(keyKinds))
	for _, k := range keyKinds {
		names = append(names, k.name)
	}
	return strings.Join(names, ", ")
}

func kindOf(name string) (keyKind, error) {
	for _, k := range keyKinds {
		if k.name == name {
			return k, nil
		}
	}
	return keyKind{}, fmt.Errorf("key type %q is not one of this line's: %s", name, keyNames())
}

// keyFile gives the text of priv_validator_key.json as FilePV itself writes it.
func keyFile(priv privKey) (string, error) {
	dir, err := os.MkdirTemp("", "harness-key-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "key.json")
	newFilePV(priv, path, filepath.Join(dir, "state.json")).Key.Save()
	text, err := os.ReadFile(path)
	return string(text), err
}

func runGenKey(args []string) error {
	fs := flag.NewFlagSet("genkey", flag.ContinueOnError)
	kind := fs.String("type", "", "key type (default: one of each): "+keyNames())
	secret := fs.String("secret", "", "derive a TEST KEY from this text instead of a random key")
	out := fs.String("out", "", "write the file here (needs --type) instead of printing it")
	if err := parse(fs, args); err != nil {
		return err
	}
	make := func(k keyKind) (privKey, error) {
		if *secret != "" {
			return k.fromSecret([]byte(*secret))
		}
		return k.random()
	}
	kinds := keyKinds
	if *kind != "" {
		k, err := kindOf(*kind)
		if err != nil {
			return err
		}
		kinds = []keyKind{k}
	} else if *out != "" {
		return usageError("--out needs --type")
	}
	for _, k := range kinds {
		priv, err := make(k)
		if err != nil {
			return err
		}
		text, err := keyFile(priv)
		if err != nil {
			return err
		}
		if *out != "" {
			f, err := os.OpenFile(*out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			if _, err := f.WriteString(text); err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
		line := map[string]any{"type": k.name, "pub_key": pubKeyToJSON(priv.PubKey())}
		if *out == "" {
			line["priv_validator_key"] = json.RawMessage(text)
		} else {
			line["path"] = *out
		}
		emit(line)
	}
	return nil
}
