// The node subcommand on lines without vote extensions: the stock command with kvstore is enough there.

//go:build v034 || v037

package main

func runNode([]string) error { return errNoExtensions }
