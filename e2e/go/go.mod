// The harness is built with one of lines/<line>.mod through -modfile; this file only marks the module's root.
module tmkms-nitro/e2e

go 1.25.0
